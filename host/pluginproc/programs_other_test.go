//go:build !linux

package pluginproc

import "syscall"

func systemPrograms() map[string]func() { return nil }

func stopMyself() {}

func forgetParentDeath() {}

func detachedAttr() *syscall.SysProcAttr { return nil }

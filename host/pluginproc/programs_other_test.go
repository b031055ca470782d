//go:build !linux

package pluginproc

import "syscall"

func forgetParentDeath() {}

func detachedAttr() *syscall.SysProcAttr { return nil }

//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package pluginproc

import "os"

// lockDir returns nil: this system can't lock directories, so sweep removes none.
func lockDir(string) *os.File { return nil }

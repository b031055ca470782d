//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package pluginproc

import "os"

// lockDir returns nil: directories can't be locked, and so none is swept.
func lockDir(string) *os.File { return nil }

//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package pluginproc

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockDir locks a directory until the returned file is closed, at the latest when this process ends. It returns nil if the directory
// can't be locked or another process has locked it.
func lockDir(path string) *os.File {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil
	}
	return f
}

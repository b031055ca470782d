//go:build unix && !linux

package discovery

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareSocket lets a socket broadcast and share its port. BSD systems require SO_REUSEPORT for sharing.
func prepareSocket(_, _ string, raw syscall.RawConn) error {
	var failed error
	set := func(fd uintptr, name string, option int) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+name, err)
		}
	}
	err := raw.Control(func(fd uintptr) {
		set(fd, "SO_REUSEADDR", unix.SO_REUSEADDR)
		set(fd, "SO_REUSEPORT", unix.SO_REUSEPORT)
		set(fd, "SO_BROADCAST", unix.SO_BROADCAST)
	})
	if err != nil {
		return err
	}
	return failed
}

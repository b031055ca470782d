package discovery

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// prepareSocket lets a socket broadcast and share its port.
func prepareSocket(_, _ string, raw syscall.RawConn) error {
	var failed error
	set := func(fd uintptr, name string, option int) {
		if err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, option, 1); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+name, err)
		}
	}
	err := raw.Control(func(fd uintptr) {
		set(fd, "SO_REUSEADDR", windows.SO_REUSEADDR)
		set(fd, "SO_BROADCAST", windows.SO_BROADCAST)
	})
	if err != nil {
		return err
	}
	return failed
}

// isTruncated reports whether err means that a datagram was longer than the buffer. The buffer is then full.
func isTruncated(err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

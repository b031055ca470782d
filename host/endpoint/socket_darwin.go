package endpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes were written but not acknowledged.
func unacknowledged(fd int) (int, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	return n, os.NewSyscallError("getsockopt SO_NWRITE", err)
}

package endpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

const tcpClose = 7 // TCP_CLOSE of include/net/tcp_states.h

// unacknowledged returns how many bytes were written but not acknowledged.
func unacknowledged(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0, os.NewSyscallError("ioctl SIOCOUTQ", err)
	}
	if n == 0 {
		return 0, nil
	}
	// The count of a connection that was reset never reaches 0.
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt TCP_INFO", err)
	}
	if info.State == tcpClose {
		return 0, ErrReset
	}
	return n, nil
}

package endpoint

import "golang.org/x/sys/unix"

// isLost reports whether the system has an error for the connection, and leaves the error pending.
func isLost(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}

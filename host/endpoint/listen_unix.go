//go:build unix

package endpoint

import "golang.org/x/sys/unix"

// stopListening has the system refuse connections to s from now on. Close alone does not: a process that is being
// started holds a copy of every descriptor until it executes its program, and the copy would listen until then.
func stopListening(s listenSocket) {
	raw, err := s.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // systems other than Linux may answer ENOTCONN, and have Close alone
	})
}

//go:build unix

package endpoint

import "golang.org/x/sys/unix"

// stopListening makes the system refuse connections to s from now on. Close alone does not: a child process holds a copy of
// every descriptor between fork and exec, and the copy goes on listening until then.
func stopListening(s listenSocket) {
	raw, err := s.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // may fail with ENOTCONN except on Linux; there only Close ends listening
	})
}

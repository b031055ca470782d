//go:build unix

package endpoint

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const errConnectionRefused = syscall.ECONNREFUSED

// kindOf returns ErrReset, ErrPeerLost or nil. shutdown(2) fails with ENOTCONN after a reset.
func kindOf(errno syscall.Errno) error {
	switch errno {
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ENOTCONN:
		return ErrReset
	case syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETDOWN:
		return ErrPeerLost
	}
	return nil
}

// reserve is how many descriptors are kept free for listeners, plugin processes, logs and so on.
const reserve = 128

// ConnectionsAllowed returns how many connections the limit for open files allows, at most want and at least 1, and whether
// that is fewer than want. Each connection takes perConnection descriptors: 2 if it has an upstream of its own. If want is
// 0 (no limit), ConnectionsAllowed returns the number that the system allows, or 0 if the system has no limit either, and
// false.
//
// Go raises the soft limit to the hard limit when a program starts, so the hard limit counts.
func ConnectionsAllowed(want, perConnection int) (effective int, limited bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return want, false
	}
	return connectionsAllowed(want, perConnection, uint64(limit.Cur)) //nolint:unconvert // it is signed on some systems
}

func connectionsAllowed(want, perConnection int, descriptors uint64) (effective int, limited bool) {
	const unlimited = 1 << 31 // more than any system gives; RLIM_INFINITY differs among them
	if descriptors >= unlimited {
		return want, false
	}
	allowed := max(1, (int64(descriptors)-reserve)/int64(perConnection))
	if want > 0 && int64(want) <= allowed {
		return want, false
	}
	return int(allowed), want > 0
}

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

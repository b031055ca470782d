//go:build unix

package endpoint

import "syscall"

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

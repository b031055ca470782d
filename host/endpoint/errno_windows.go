package endpoint

import (
	"syscall"

	"golang.org/x/sys/windows"
)

const errConnectionRefused = windows.WSAECONNREFUSED

// kindOf returns ErrReset, ErrPeerLost or nil.
func kindOf(errno syscall.Errno) error {
	switch errno {
	case windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN, windows.WSAENOTCONN:
		return ErrReset
	case windows.WSAETIMEDOUT, windows.WSAENETRESET, windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN,
		windows.WSAENETUNREACH, windows.WSAENETDOWN:
		return ErrPeerLost
	}
	return nil
}

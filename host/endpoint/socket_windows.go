package endpoint

import (
	"context"
	"os"
	"syscall"
	"unsafe"

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

// ConnectionsAllowed returns want: there is no limit for open sockets on Windows.
func ConnectionsAllowed(want, perConnection int) (effective int, limited bool) { return want, false }

// stopListening does nothing: on Windows, a new child process has no copies of this process's sockets.
func stopListening(listenSocket) {}

// fionread is FIONREAD of winsock2.h.
const fionread = 0x4004667f

func readable(fd uintptr) (int, error) {
	var n, returned uint32
	err := windows.WSAIoctl(windows.Handle(fd), fionread, nil, 0, (*byte)(unsafe.Pointer(&n)), uint32(unsafe.Sizeof(n)), &returned, nil, 0)
	return int(n), os.NewSyscallError("WSAIoctl FIONREAD", err)
}

// probeIP does nothing and returns nil: on Windows, binding a socket takes datagrams and connections away from others.
func probeIP(context.Context, Address) error { return nil }

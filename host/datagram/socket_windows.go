package datagram

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// destinationUnknown is true if it is not known where datagrams were sent to: golang.org/x/net does not ask Windows for it.
const destinationUnknown = true

// shareUDP lets other sockets that do the same bind to the same port.
func shareUDP(fd uintptr) error {
	err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
	return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
}

func prepareUDP(uintptr, bool) error { return nil }

// setReceiveBuffer asks for size bytes unless size is 0, and returns how many were granted.
func setReceiveBuffer(fd uintptr, size int) (granted int, err error) {
	if size > 0 {
		err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF, min(size, 1<<30))
		if err != nil {
			return 0, os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	granted, err = windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF)
	return granted, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// droppedDatagrams returns 0: Windows does not report the number.
func droppedDatagrams(uintptr) uint32 { return 0 }

// isTruncated reports whether the system truncated the datagram.
func isTruncated(_ int, err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// isSendError reports whether err is about a datagram that was sent earlier. Such an error must not end receiving.
func isSendError(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET)
}

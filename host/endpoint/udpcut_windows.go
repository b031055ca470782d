package endpoint

import (
	"errors"

	"golang.org/x/sys/windows"
)

// cutDatagram reports whether the system truncated the datagram.
func cutDatagram(_ int, err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// refusedDatagram reports whether err is about a datagram that was sent earlier. Such an error must not end receiving.
func refusedDatagram(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET)
}

package endpoint

import (
	"errors"

	"golang.org/x/sys/windows"
)

// cutDatagram reports whether the system had more of a datagram than fitted.
func cutDatagram(_ int, err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// refusedDatagram reports whether an error tells of an earlier datagram that was sent, which must not end receiving.
func refusedDatagram(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET)
}

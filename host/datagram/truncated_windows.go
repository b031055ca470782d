package datagram

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isTruncated reports whether the system truncated the datagram.
func isTruncated(_ int, err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// isSendError reports whether err is about a datagram that was sent earlier. Such an error must not end receiving.
func isSendError(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAENETRESET)
}

//go:build unix && !linux

package endpoint

import "golang.org/x/sys/unix"

// cutDatagram reports whether the system had more of a datagram than fitted.
func cutDatagram(flags int, _ error) bool { return flags&unix.MSG_TRUNC != 0 }

// refusedDatagram reports whether an error tells of an earlier datagram that was sent, which must not end receiving.
func refusedDatagram(error) bool { return false }

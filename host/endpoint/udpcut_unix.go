//go:build unix && !linux

package endpoint

import "golang.org/x/sys/unix"

// cutDatagram reports whether the system truncated the datagram.
func cutDatagram(flags int, _ error) bool { return flags&unix.MSG_TRUNC != 0 }

// refusedDatagram returns false: these systems don't return the error of a sent datagram from a receive call.
func refusedDatagram(error) bool { return false }

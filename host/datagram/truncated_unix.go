//go:build unix && !linux

package datagram

import "golang.org/x/sys/unix"

// isTruncated reports whether the system truncated the datagram.
func isTruncated(flags int, _ error) bool { return flags&unix.MSG_TRUNC != 0 }

// isSendError returns false: these systems don't return the error of a sent datagram from a receive call.
func isSendError(error) bool { return false }

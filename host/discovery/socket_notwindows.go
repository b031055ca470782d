//go:build !windows

package discovery

// isTruncated returns false: these systems return no error for a datagram that is longer than the buffer.
func isTruncated(error) bool { return false }

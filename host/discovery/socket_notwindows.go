//go:build !windows

package discovery

// cutOff returns false: these systems return no error for a datagram that is longer than the buffer.
func cutOff(error) bool { return false }

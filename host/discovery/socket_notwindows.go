//go:build !windows

package discovery

// cutOff says whether err is what the system calls a datagram that is longer than the buffer: none does.
func cutOff(error) bool { return false }

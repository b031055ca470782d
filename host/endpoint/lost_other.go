//go:build !linux

package endpoint

// isLost is not known here: a reset shows when everything that came before was read.
func isLost(uintptr) bool { return false }

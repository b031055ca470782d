//go:build !linux

package discovery

// ancillarySize is not used but for a buffer: no ancillary data is asked for.
const ancillarySize = 0

// leaveBy returns nothing: the route to the broadcast address decides.
func leaveBy(link) []byte { return nil }

// arrivedOn returns 0: it is not known.
func arrivedOn([]byte) int { return 0 }

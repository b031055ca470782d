//go:build !linux

package discovery

// ancillarySize is 0: these systems are not asked for ancillary data.
const ancillarySize = 0

// leaveBy returns nil: the route to the broadcast address decides.
func leaveBy(link) []byte { return nil }

// arrivedOn returns 0: the interface is not known.
func arrivedOn([]byte) int { return 0 }

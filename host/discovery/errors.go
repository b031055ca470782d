package discovery

import "errors"

// Reasons why a packet is ignored; see [StationOptions].Ignored.
var (
	// ErrMalformed means that the packet differs from PACKET.md. The error says at which byte, and what is wanted there.
	ErrMalformed = errors.New("malformed packet")
	// ErrVersion means that the packet has another version.
	ErrVersion = errors.New("unknown version of packet")
	// ErrUnsigned means that the packet is not signed, and there is a key.
	ErrUnsigned = errors.New("packet is not signed")
	// ErrForged means that the packet is signed with another key, or was changed on the way.
	ErrForged = errors.New("signature does not match")
	// ErrStale means that the time in the packet is outside the window: a clock is wrong, or the packet is a replay.
	ErrStale = errors.New("packet is out of its time")
	// ErrRepeated means that this packet, or a newer one of the same identity, was heard before. That is normal if two hosts
	// share several LANs.
	ErrRepeated = errors.New("packet was heard before")
	// ErrFull means that the packet announces a new service when MaxServices or MaxPerAddress are remembered already.
	ErrFull = errors.New("too many services")
	// ErrUnreachable means that the packet announces only loopback addresses and comes from another host.
	ErrUnreachable = errors.New("service has no address that is reached from here")
	// ErrLimited means that the packet is a query over the limits that [Announcer] describes.
	ErrLimited = errors.New("too many queries")
)

// ErrNoInterface is returned by [UDP.Send] while none of the chosen interfaces can broadcast.
var ErrNoInterface = errors.New("no interface that can broadcast")

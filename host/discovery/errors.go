package discovery

import "errors"

// Why a packet was ignored; see [StationOptions].Ignored.
var (
	// ErrMalformed: it is not a packet as PACKET.md describes it. The error says where and what was wanted.
	ErrMalformed = errors.New("malformed packet")
	// ErrVersion: it is a packet of another version.
	ErrVersion = errors.New("unknown version of packet")
	// ErrUnsigned: it is not signed, and there is a key.
	ErrUnsigned = errors.New("packet is not signed")
	// ErrForged: it is signed with another key, or was changed on the way.
	ErrForged = errors.New("signature does not match")
	// ErrStale: it says that it was sent at another time; a clock is wrong, or it was recorded.
	ErrStale = errors.New("packet is out of its time")
	// ErrRepeated: as new a packet, or a newer one, was heard before. This is ordinary where hosts share several LANs.
	ErrRepeated = errors.New("packet was heard before")
	// ErrFull: it announces one more service than may be remembered, in all or of one address.
	ErrFull = errors.New("too many services")
	// ErrUnreachable: it announces loopback addresses only, and comes from another host.
	ErrUnreachable = errors.New("service has no address that is reached from here")
	// ErrLimited: it is one more query than is answered.
	ErrLimited = errors.New("too many queries")
)

// ErrNoInterface is returned by [UDP.Send] while none of the chosen interfaces can broadcast.
var ErrNoInterface = errors.New("no interface that can broadcast")

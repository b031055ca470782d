package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
)

// MaxDatagram is the longest payload of an IPv4 datagram, in bytes. IPv6 could carry 20 bytes more.
const MaxDatagram = 65507

// ErrNoInterface is why a datagram was not sent when none of the chosen interfaces is there, up, and fit for it.
var ErrNoInterface = errors.New("no interface to send from")

// A Cast says to how many a datagram was sent.
type Cast uint8

// The zero value stands for what can't be told, on systems (Windows) that don't say where a datagram was sent to.
const (
	UnknownCast Cast = iota
	Unicast
	Broadcast
	Multicast
)

func (c Cast) String() string {
	return [...]string{"unknown", "unicast", "broadcast", "multicast"}[c]
}

// A Datagram is one of a batch.
type Datagram struct {
	// Payload is what it carries. To receive, the caller provides memory: up to the capacity of Payload is written, from its
	// first byte, and its length becomes the datagram's, which can be 0.
	Payload []byte
	// Remote is who sent it, or whom to send it to. IPv4 is never mapped into IPv6. To send, the zero AddrPort means
	// what was dialed.
	Remote netip.AddrPort
	// Local is the address it was sent to (the zero Addr on Windows), or the address to send from. To send, the zero Addr
	// lets the system choose, and an address that is no longer one of this machine's is an error. Systems other than Linux
	// may choose by themselves.
	Local netip.Addr
	// Interface is the index of the interface that it came in by (0 on Windows), or that it shall leave by; 0: the
	// system chooses. What a machine sends to an address of its own comes in by loopback.
	Interface int
	// Cast is told of datagrams received.
	Cast Cast
	// Own is told of datagrams received: it was sent by a socket that shares its [Origins] with this one.
	Own bool
	// Err is told of datagrams sent: why not one copy was sent, or nil.
	Err error

	size int  // of the datagram, as received: more than len(Payload) when it was cut
	sent bool // one copy at least
}

// DatagramOptions are ready as their zero value.
type DatagramOptions struct {
	// Interfaces are those to receive on or to send from, each given by name, by an address it has, or by the network of
	// such an address: eth0, 192.168.1.5, 192.168.1.0/24. Chosen by address, it sends from there alone. Empty: all.
	// It is not an error if there is none such; there may be one later. Listening, what is sent to an address of a
	// chosen interface is received whatever interface it comes in by, and the rest is dropped and counted; Windows can't
	// tell, and so refuses it.
	Interfaces []string
	// Groups are the multicast groups to join on each of the interfaces; of one family. Listening only.
	Groups []netip.Addr
	// TTL is how many networks multicast crosses that was dialed: 1 to 255. 0: 1, which stays in the sender's network.
	TTL int
	// ReceiveBuffer is how much the system shall keep of what was not read yet, in bytes; each datagram counts with some
	// hundred bytes of overhead. What is granted can be less. 0: the system's default.
	ReceiveBuffer int
	// Exclusive makes it an error if somebody listens on the port already. Otherwise those who allow it share it: each
	// gets every broadcast and multicast, but unicast goes to one of them. Listening only.
	Exclusive bool
	// Watch tells of interfaces that come and go. nil: it watches by itself.
	Watch *Interfaces
	// Origins knows own datagrams from others. nil: one that is the process's.
	Origins *Origins

	// The following may call nothing of the DatagramConn.

	// Truncated, unless nil, is told of each datagram that did not fit the memory provided for it: from whom it was, how
	// long it was (0: the system does not say), and how long it could have been. It is counted and not handed over.
	Truncated func(from netip.AddrPort, size, room int)
	// SendFailed, unless nil, is told when sending to what was dialed begins to fail, of each change of why, and, with a
	// nil error, when it succeeds again. to is the zero AddrPort when there is no interface to send from.
	SendFailed func(to netip.AddrPort, err error)
	// Changed, unless nil, is told what the endpoint does since interfaces changed: that it uses one, or (gone) that it
	// does no more. With an error, it was tried and failed, and is tried again when interfaces change.
	Changed func(use DatagramUse, gone bool, err error)
}

// A DatagramUse is one thing that an endpoint does with an interface.
type DatagramUse struct {
	Interface string
	Group     netip.Addr     // listening: joined there; the zero Addr: receives what is sent to the machine
	To        netip.AddrPort // dialing: where a copy goes
	From      netip.Addr     // dialing: where it is sent from; the zero Addr: the system chooses
}

// MarshalText returns String, for logs in JSON.
func (u DatagramUse) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String returns the use as a phrase, such as "sends to 192.0.2.255:10110 from 192.0.2.5 on eth0".
func (u DatagramUse) String() string {
	switch {
	case u.To.IsValid() && u.From.IsValid():
		return fmt.Sprintf("sends to %s from %s on %s", u.To, u.From, u.Interface)
	case u.To.IsValid():
		return fmt.Sprintf("sends to %s on %s", u.To, u.Interface)
	case u.Group.IsValid():
		return fmt.Sprintf("has joined %s on %s", u.Group, u.Interface)
	}
	return "receives on " + u.Interface
}

// DatagramStats count since the endpoint was made.
type DatagramStats struct {
	Received  uint64 // handed over
	Own       uint64 // of those, how many were Own
	Truncated uint64 // did not fit the memory provided
	Elsewhere uint64 // came in by an interface that was not chosen, or for another group
	Strangers uint64 // dialing one address: came from another one
	Dropped   uint64 // by the system, since nobody read them in time; Linux, else 0
	Sent      uint64 // copies that the system accepted
	Unsent    uint64 // copies that it did not
}

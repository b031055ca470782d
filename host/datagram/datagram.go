// Package datagram receives and sends datagrams over UDP. It provides a [Conn] for each socket.
//
//	Listen --+                                +--> ReadBatch --> Flows: a Flow for each peer
//	         +--> Conn (one for each port) ---+
//	Dial ----+                                +--> WriteBatch
//
// A Conn sends and receives unicast, broadcast and multicast. It uses the interfaces that were chosen and follows them as they
// come and go ([netif.Watch]). It receives and sends datagrams in batches, and never returns a truncated datagram. [Origins]
// recognizes datagrams that this process sent itself. [Flows] groups the datagrams of each peer into a conversation.
package datagram

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/framehost/framehost/host/netif"
)

// MaxDatagram is the longest payload of an IPv4 datagram, in bytes. IPv6 could carry 20 bytes more.
const MaxDatagram = 65507

// ErrNoInterface means that a datagram was not sent because none of the chosen interfaces exists, is up and can send it.
var ErrNoInterface = errors.New("no interface to send from")

// A Cast is the kind of address that a datagram was sent to.
type Cast uint8

// UnknownCast, the zero value, occurs on systems (Windows) that don't report where a datagram was sent to.
const (
	UnknownCast Cast = iota
	Unicast
	Broadcast
	Multicast
)

func (c Cast) String() string {
	return [...]string{"unknown", "unicast", "broadcast", "multicast"}[c]
}

// A Datagram is one datagram of a batch, to receive or to send.
type Datagram struct {
	// Payload is the datagram's bytes. To receive, the caller provides the memory: ReadBatch writes up to cap(Payload) bytes
	// from the first byte on, and sets len(Payload) to the length of the datagram, which can be 0.
	Payload []byte
	// Remote is the address of the sender, or the address to send to. It is never an IPv4-mapped IPv6 address. To send, the
	// zero AddrPort means the address that was dialed.
	Remote netip.AddrPort
	// Local is the address that the datagram was sent to (the zero Addr on Windows), or the address to send from. To send,
	// the zero Addr lets the system choose, and an address that this machine no longer has is an error. Systems other than
	// Linux may ignore Local and choose themselves.
	Local netip.Addr
	// Interface is the index of the interface that the datagram was received on (0 on Windows), or that it is to be sent
	// from; 0: the system chooses. Datagrams that a machine sends to one of its own addresses are received on loopback.
	Interface int
	// Cast is set by ReadBatch: the kind of address that Local is.
	Cast Cast
	// Own is set by ReadBatch: the datagram was sent by a socket that shares its [Origins] with this one.
	Own bool
	// Err is set by WriteBatch: nil if at least one copy was sent, otherwise the reason.
	Err error

	size int  // length of the datagram as received: not len(Payload) if it was truncated; -1: truncated, length unknown
	sent bool // at least one copy was sent
}

// Options are ready as their zero value.
type Options struct {
	// Interfaces are the interfaces to receive on or to send from, each given by its name, by one of its addresses, or by
	// the network of such an address: eth0, 192.168.1.5, 192.168.1.0/24. An interface given by address or network sends from
	// the matching addresses only. Empty: all interfaces. It is not an error if no interface matches; one may appear later.
	//
	// A listener receives a datagram if it arrives on a chosen interface, or if it is sent to an address of one, whatever
	// interface it arrives on. Other datagrams are dropped and counted. On Windows, choosing interfaces is an error for
	// listeners, since the system does not report where a datagram arrived.
	Interfaces []string
	// Groups are the multicast groups to join on each of the interfaces, all of one family. Listening only.
	Groups []netip.Addr
	// TTL is how many networks a datagram crosses that is sent to a multicast group: 1 to 255. 0 means 1: the datagram stays
	// in the sender's network. Dialing only.
	TTL int
	// ReceiveBuffer is how many bytes of unread datagrams the system is to buffer; each datagram adds some hundred bytes of
	// overhead. The system may grant less. 0: the system's default.
	ReceiveBuffer int
	// Exclusive makes it an error if another socket is bound to the port. Otherwise the port is shared by all sockets that
	// allow it: each receives every broadcast and multicast datagram, but only one of them a unicast datagram. Listening only.
	Exclusive bool
	// Watch reports interfaces that come and go. nil: the Conn runs [netif.Watch] itself.
	Watch *netif.Watcher
	// Origins recognizes own datagrams. nil: one that the whole process shares.
	Origins *Origins

	// The following functions must not call methods of the Conn.

	// Truncated, unless nil, is called for each datagram that did not fit into the memory provided for it: with its sender,
	// its length in bytes (0: the system does not report it), and the length that would have fitted. The datagram is counted
	// and not returned.
	Truncated func(from netip.AddrPort, size, room int)
	// SendFailed, unless nil, is called when sending to the address that was dialed begins to fail, when the reason changes,
	// and, with a nil error, when sending succeeds again. to is the zero AddrPort if there is no interface to send from.
	SendFailed func(to netip.AddrPort, err error)
	// Changed, unless nil, is called for each use of an interface that begins or, if gone, ends because interfaces changed.
	// If err is not nil, the use could not begin; the Conn tries again when interfaces change.
	Changed func(use Use, gone bool, err error)
}

// A Use is one way in which a Conn uses an interface.
type Use struct {
	Interface string
	Group     netip.Addr     // listening: the group joined there; the zero Addr: receives datagrams sent to the machine
	To        netip.AddrPort // dialing: the address that a copy is sent to
	From      netip.Addr     // dialing: the address that the copy is sent from; the zero Addr: the system chooses
}

// MarshalText returns String, for logs in JSON.
func (u Use) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String returns the use as a phrase, such as "sends to 192.0.2.255:10110 from 192.0.2.5 on eth0".
func (u Use) String() string {
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

// Stats are counts of datagrams since the Conn was made.
type Stats struct {
	Received  uint64 // returned by ReadBatch
	Own       uint64 // of Received, those that were Own
	Truncated uint64 // discarded: did not fit into the memory provided
	Elsewhere uint64 // discarded: arrived on an interface that was not chosen, or for another group
	Strangers uint64 // discarded: one address was dialed, and the datagram came from another one
	Dropped   uint64 // dropped by the system because they were not read in time; always 0 except on Linux
	Sent      uint64 // copies that the system accepted
	Unsent    uint64 // copies that could not be sent
}

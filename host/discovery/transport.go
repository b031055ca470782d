package discovery

import "net/netip"

// A Transport broadcasts packets to all hosts on the LAN, and receives theirs. It must be safe for concurrent use.
type Transport interface {
	// Send sends packet once on each interface. It must not retain packet. An error means that packet was not sent on all
	// interfaces; it may have been sent on some.
	Send(packet []byte) error
	// Receive waits for a packet and copies it to buf. A packet that does not fit is truncated; a Station passes a buffer
	// that is longer than any valid packet. The error is net.ErrClosed after Close. Any other error counts as temporary.
	Receive(buf []byte) (n int, from Origin, err error)
	// Close ends Receive and Send.
	Close() error
}

// An Origin is where a packet came from.
type Origin struct {
	Address   netip.AddrPort // of the sender
	Interface string         // the name of the interface that the packet arrived on
}

package discovery

import "net/netip"

// A Transport carries packets to everyone on the LAN, and from them. Its methods may be called at the same time.
type Transport interface {
	// Send sends packet once on each interface. It does not keep packet. An error says that it was not sent on all of
	// them; it may have been sent on some.
	Send(packet []byte) error
	// Receive waits for a packet and copies it to buf. What does not fit is cut off: a Station gives a buffer longer than
	// any packet. The error is net.ErrClosed after Close. Any other one is taken to pass.
	Receive(buf []byte) (n int, from Origin, err error)
	// Close ends Receive and Send.
	Close() error
}

// An Origin is where a packet came from.
type Origin struct {
	Address   netip.AddrPort // of its sender
	Interface string         // the name of the interface that it arrived on
}

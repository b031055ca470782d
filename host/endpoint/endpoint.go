// Package endpoint listens and dials. It provides a [Conn] for each connection over tcp or unix. The package deals with sockets
// for streams only; datagrams, frames, routes and processes belong to other packages.
//
//	Listen --> Listener.Accept --+                         +--> Read, Peek
//	                             +--> Conn (per peer) -----+
//	Dial, Redialer.Next ---------+                         +--> Write, CloseWrite, Reset, Close
//
// # Reading without holding memory
//
// Most connections of a relay are idle most of the time. [Conn.Read] therefore does not take a buffer but two functions,
// grab and release. Read calls grab for a buffer only when it expects bytes. If there are none, Read returns the buffer
// through release before it waits. On Windows, Read holds a buffer while it waits.
//
// # How a connection ends
//
// Read and Write report how a connection ended:
//
//	io.EOF         Read only: the peer ended its direction, or this side called CloseRead
//	ErrReset       the connection was reset; Write also: the peer has closed the connection
//	ErrPeerLost    the peer vanished
//	net.ErrClosed  this side called Close or Reset; Write also: this side called CloseWrite
//
// The Linux kernel reports a reset once, to the first call of either direction; to the other direction it looks like the
// end of the stream. A Conn shares the error between both directions, so Read never reports a reset as io.EOF.
//
// [Conn.Close] ends a conversation that is complete. [Conn.Reset] shows a TCP peer that the conversation is incomplete:
//
//	             the peer's Read returns                       the peer's Write
//	CloseWrite   all that was sent, then the end               goes on
//	Close        all that was sent, then the end [1]           fails with a reset
//	Reset, tcp   all that it received, then a reset [2]        fails with a reset
//	Reset, unix  all that was sent, then the end [1]           fails with EPIPE
//
// [1] or a reset, if this side left bytes of the peer unread. [2] Bytes that the peer's system has not received yet are
// discarded; [Conn.Flush] waits until it has received them. Systems other than Linux may also discard bytes that were
// received but not read.
//
// Unix sockets have no reset. A Unix peer that only reads can't distinguish Reset from Close. If such a peer must know
// that a stream is complete, the framing must say so.
//
// # Peers that vanish
//
// A machine that loses power does not end its connections. [Keepalive] detects such peers on TCP. Multipath TCP is off,
// because the socket options that Keepalive needs don't work everywhere with it.
//
// # Access control
//
// An [Admission] accepts or refuses each connection, by its IP address and by the number of live connections. At a limit, the
// Admission resets a connection that gives way ([Conn.GiveWay]), if there is one, and accepts the new one. A refused
// connection is reset at once, not left in the backlog, and ListenOptions.Refused is called with the reason.
package endpoint

import "fmt"

// An Address is where an endpoint listens or dials.
type Address struct {
	Network string // "tcp" or "unix"; "udp" only for Probe and for messages
	Address string // tcp, udp: HOST:PORT as in package net, HOST may be empty to listen; unix: the path of the socket
}

// String returns a as a URL, such as tcp://127.0.0.1:7001 or unix:///run/scale.sock.
func (a Address) String() string { return a.Network + "://" + a.Address }

func (a Address) check() error {
	if a.Network != "tcp" && a.Network != "unix" {
		return fmt.Errorf("got network %q, want tcp or unix", a.Network)
	}
	if a.Address == "" {
		return fmt.Errorf("got an empty address, want %s", map[string]string{"tcp": "HOST:PORT", "unix": "a path"}[a.Network])
	}
	return nil
}

// Package endpoint is where bytes enter and leave: it listens and dials, and makes a [Conn] of each connection over tcp
// and unix, and a [DatagramConn] of each socket that receives or sends datagrams over udp. It knows sockets, and nothing
// of frames, routes or processes.
//
//	Listen --> Listener.Accept --+                         +--> Read, Peek
//	                             +--> Conn (one a peer) ---+
//	Dial, Redialer.Next ---------+                         +--> Write, CloseWrite, Reset, Close
//
//	ListenDatagram --+                                     +--> ReadBatch --> Flows: a Flow for each peer
//	                 +--> DatagramConn (one a port) -------+
//	DialDatagram ----+                                     +--> WriteBatch
//
// # Reading without holding memory
//
// A relay has many connections of which few have anything to say. [Conn.Read] therefore does not take a buffer: it takes
// two functions, and calls grab for a buffer only to read what should be there. When there is nothing, the buffer goes
// back through release before Read waits. On Windows a buffer is held while Read waits.
//
// # How a connection ends
//
// The peer's end of a direction is [io.EOF]. A reset is [ErrReset], a peer that vanished is [ErrPeerLost], and the end
// that this side made with Close or Reset is [net.ErrClosed]. They are never mixed up: on Linux a reset is reported once
// by the kernel, to whichever of Read and Write asks first, and looks like the stream's end to the other one. A Conn
// shares it between both, so that io.EOF always means that the peer ended its direction.
//
// [Conn.Close] is the end for a conversation that is complete. [Conn.Reset] tells a TCP peer that it is not:
//
//	            the peer's Read                                the peer's Write
//	CloseWrite  what was sent, then the end                    goes on
//	Close       what was sent, then the end [1]                fails with a reset
//	Reset, tcp  what it has received, then a reset [2]         fails with a reset
//	Reset, unix what was sent, then the end [1]                fails with EPIPE
//
// [1] or a reset, if bytes of the peer were left unread here. [2] What the peer's system has not received is discarded;
// [Conn.Flush] waits for it. Systems other than Linux may also discard what was received and not read.
//
// Unix sockets have no reset. A Unix peer that only reads can't tell Reset from Close: where it matters that a
// stream is known to be complete, its framing must say so.
//
// # Peers that vanish
//
// A machine that lost its power ends nothing. [Keepalive] finds such peers on TCP. Multipath TCP is off, since there the
// socket options this needs don't work everywhere.
//
// # Who may connect
//
// An [Admission] decides on each accepted connection by its address and by how many there are. A refused connection
// is reset at once rather than left in the backlog, and reported with the reason.
//
// # Datagrams
//
// A [DatagramConn] knows unicast, broadcast and multicast, and has one socket for all interfaces that were chosen, which it
// follows as they come and go ([WatchInterfaces]). Datagrams are received and sent in batches, and are whole or are not
// handed over. [Origins] tells those that this process sent from others. [Flows] make conversations of them, one for each
// peer.
package endpoint

import "fmt"

// An Address is where an endpoint listens or dials.
type Address struct {
	Network string // "tcp" or "unix"; that of a DatagramConn is shown as "udp"
	Address string // tcp, udp: HOST:PORT as package net takes it, HOST may be empty to listen; unix: the path of the socket
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

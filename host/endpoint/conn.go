package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Conn is one connection. One goroutine may read while another writes; all other methods may be called at any time
// by anyone, except that Peek and Unread are reading.
type Conn struct {
	socket     socket
	transfer   *transfer
	remoteIP   netip.Addr
	unread     []byte // what Read returns first
	endedWrite atomic.Bool

	end    sync.Once
	endErr error
	over   chan struct{} // closed when it has ended
	leave  func()        // gives back what an Admission counted
	limits []*Connections

	givesWay atomic.Bool // it stands in the limits' queues of those that make room for others
}

// socket is what *net.TCPConn and *net.UnixConn have in common.
type socket interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
}

// newConn takes over s. leave is called once, when the Conn ends.
func newConn(s socket, leave func()) (*Conn, error) {
	t, err := newTransfer(s)
	if err != nil {
		return nil, err
	}
	return &Conn{socket: s, transfer: t, remoteIP: ipOf(s.RemoteAddr()), over: make(chan struct{}), leave: leave}, nil
}

// ipOf returns the IP address of a TCP address as an operator writes it: an IPv4 address that an IPv6 socket shows is an
// IPv4 address, and a link-local one has no zone, for neither would be found in a CIDR range otherwise.
func ipOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// Read waits until bytes can be read, holding no memory, and reads some into a buffer that it gets from grab. With n
// above 0 the caller has the buffer that grab returned last, and its first n bytes are what was read. Otherwise each
// buffer that Read grabbed was given back to release: grab and release are called in turns, and a buffer is only
// held from one to the other, not while waiting (except on Windows).
//
// grab may return no memory: then Read returns 0 and no error. grab and release must not wait for anything, since Close
// and Reset wait for them. To allocate nothing, pass the same two functions each time.
//
// The error is io.EOF when the peer ended its direction, or after CloseRead; ErrReset, ErrPeerLost or net.ErrClosed;
// or what else the system says. It comes again when Read is called again.
func (c *Conn) Read(grab func() []byte, release func([]byte)) (n int, err error) {
	if len(c.unread) == 0 {
		return c.transfer.read(grab, release)
	}
	n = copy(grab(), c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil
	}
	return n, nil
}

// Unread puts a copy of b in front of what Read returns next.
func (c *Conn) Unread(b []byte) {
	if len(b) > 0 {
		c.unread = append(append(make([]byte, 0, len(b)+len(c.unread)), b...), c.unread...)
	}
}

// Write waits until the system accepts at least one byte of p and returns how many it accepted, which may be fewer than
// len(p). Accepted is not received; see Flush. With an error, n is 0: ErrReset, ErrPeerLost, net.ErrClosed (also after
// CloseWrite), or what else the system says. An empty p is accepted at once.
func (c *Conn) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err = c.transfer.write(p)
	if c.givesWay.Load() { // if the peer is gone, it answers with a reset now
		c.stay()
	}
	if err != nil && c.endedWrite.Load() && errors.Is(err, ErrReset) {
		return n, net.ErrClosed
	}
	return n, err
}

// Stalled reports whether a Write is under way that waits for the peer to take what was written before. On Windows it is
// true for as long as any Write is under way.
func (c *Conn) Stalled() bool { return c.transfer.stalled.Load() }

// CloseWrite ends the direction to the peer: it reads what was written, and then the end. A Write that waits may go on
// waiting until c ends, so CloseWrite is for whoever writes, after the last Write. To do it again does nothing.
func (c *Conn) CloseWrite() error {
	if c.endedWrite.Swap(true) {
		return nil
	}
	return Classify(bare(c.socket.CloseWrite()))
}

// CloseRead declares that nothing more will be read; a Read that waits returns io.EOF. A Unix peer's Write then
// fails with EPIPE. A TCP peer is told nothing: Linux goes on to acknowledge what it sends, up to a full buffer.
func (c *Conn) CloseRead() error { return Classify(bare(c.socket.CloseRead())) }

// Reset ends the connection at once and shows a TCP peer that it is not complete; the package comment tells what a Unix
// peer sees. Bytes that the peer's system has not acknowledged are discarded; see Flush. Reset wakes a Read or Write
// that waits, with net.ErrClosed. After Close it does nothing.
func (c *Conn) Reset() error {
	return c.finish(func() error {
		reset(c.socket)
		return nil
	})
}

// Close ends the connection. The system goes on to deliver what was written, unless bytes of the peer are left unread:
// then the peer sees a reset. Close wakes a Read or Write that waits, with net.ErrClosed. To do it again, or after
// Reset, does nothing and returns what the first call did.
func (c *Conn) Close() error { return c.finish(c.socket.Close) }

func (c *Conn) finish(how func() error) error {
	c.end.Do(func() {
		c.endErr = bare(how())
		close(c.over)
		c.stay()
		if c.leave != nil {
			c.leave()
		}
	})
	return c.endErr
}

// reset closes s in such a way that a TCP peer sees a reset.
func reset(s socket) {
	if tcp, ok := s.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only where the connection is gone already
	}
	_ = s.Close()
}

// RemoteAddr returns the peer's address. A Unix peer that dialled has none: its String is "" or "@".
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// LocalAddr returns the address of this side.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteIP returns the peer's IP address for comparison with CIDR ranges: IPv4 as IPv4 on whatever socket, and without
// a zone. It is the zero Addr for Unix sockets.
func (c *Conn) RemoteIP() netip.Addr { return c.remoteIP }

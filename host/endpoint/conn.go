package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Conn is one connection. One goroutine may read while another writes; Peek, Unread and WaitEnd count as reading. All
// other methods are safe for concurrent use.
type Conn struct {
	socket     socket
	transfer   *transfer
	remoteIP   netip.Addr
	unread     []byte // Read returns these bytes first
	endedWrite atomic.Bool

	end    sync.Once
	endErr error
	over   chan struct{} // closed when the Conn has ended
	leave  func()        // uncounts the Conn from its Admission; may be nil
	limits []*Connections

	givesWay atomic.Bool // the Conn is in the limits' lists of connections that may be evicted
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

// ipOf returns the IP address of a TCP address, in the form that matches CIDR ranges: an IPv4-mapped IPv6 address becomes
// IPv4, and a link-local address loses its zone. It returns the zero Addr for any other network.
func ipOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// Read waits until bytes can be read and reads some of them into a buffer from grab. If n > 0, the caller owns the buffer
// that grab returned last, and its first n bytes were read. If n is 0, Read has returned each buffer through release. Read
// calls grab and release alternately and holds a buffer only between the two calls, not while it waits (except on Windows).
//
// grab may return an empty buffer: then Read returns 0 and no error. grab and release must not block, since Close and Reset
// wait for them. If the caller passes the same two functions each time, Read does not allocate.
//
// The error is io.EOF when the peer ended its direction, or after CloseRead. Otherwise it is ErrReset, ErrPeerLost,
// net.ErrClosed, or another error of the system. Calling Read again returns the error again.
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

// Unread puts a copy of b back into the stream: Read returns it first.
func (c *Conn) Unread(b []byte) {
	if len(b) > 0 {
		c.unread = append(append(make([]byte, 0, len(b)+len(c.unread)), b...), c.unread...)
	}
}

// Write waits until the system accepts at least one byte of p and returns how many bytes it accepted. Unlike an io.Writer,
// Write may return n < len(p) without an error. The peer may not have received accepted bytes yet; see Flush. If err is not
// nil, n is 0. The error is ErrReset, ErrPeerLost, net.ErrClosed (also after CloseWrite), or another error of the system.
// With an empty p, Write returns at once.
func (c *Conn) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err = c.transfer.write(p)
	if c.givesWay.Load() { // c is in use again; a peer that has closed answers this write with a reset
		c.stay()
	}
	if err != nil && c.endedWrite.Load() && errors.Is(err, ErrReset) {
		return n, net.ErrClosed
	}
	return n, err
}

// Stalled reports whether a Write is waiting for the peer to accept bytes that were written before. On Windows it is true
// while any Write is in progress.
func (c *Conn) Stalled() bool { return c.transfer.stalled.Load() }

// CloseWrite ends the direction to the peer: the peer reads all that was written, then the end. Call CloseWrite from the
// writing goroutine, after its last Write: a Write that is waiting may go on waiting until c ends. Further calls do nothing.
func (c *Conn) CloseWrite() error {
	if c.endedWrite.Swap(true) {
		return nil
	}
	return Classify(bare(c.socket.CloseWrite()))
}

// CloseRead declares that this side reads no more; a Read that is waiting returns io.EOF. A Unix peer's Write then fails
// with EPIPE. A TCP peer does not notice: Linux goes on acknowledging its bytes until the receive buffer is full.
func (c *Conn) CloseRead() error { return Classify(bare(c.socket.CloseRead())) }

// Reset ends the connection at once and shows a TCP peer that the conversation is incomplete; the package comment says
// what a Unix peer sees. Bytes that the peer's system has not acknowledged are discarded; see Flush. A Read or Write that is
// waiting returns net.ErrClosed. After Close, Reset does nothing.
func (c *Conn) Reset() error {
	return c.finish(func() error {
		reset(c.socket)
		return nil
	})
}

// Close ends the connection. The system still delivers the bytes that were written, unless bytes of the peer are left
// unread: then the peer sees a reset. A Read or Write that is waiting returns net.ErrClosed. A second Close, or a Close
// after Reset, does nothing and returns the result of the first call.
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

// reset closes s so that a TCP peer sees a reset.
func reset(s socket) {
	if tcp, ok := s.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if the connection is gone already
	}
	_ = s.Close()
}

// RemoteAddr returns the peer's address. A Unix peer that dialled has none: its String is "" or "@".
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// LocalAddr returns the address of this side.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteIP returns the peer's IP address for comparison with CIDR ranges: without a zone, and as IPv4 if the socket shows it
// as an IPv4-mapped IPv6 address. RemoteIP returns the zero Addr for Unix sockets.
func (c *Conn) RemoteIP() netip.Addr { return c.remoteIP }

// NetConn returns the net.Conn of c, for callers that need one, such as an HTTP server. From then on the caller uses and
// closes only the net.Conn. If an Admission counted c, NetConn must not be used: closing the net.Conn does not uncount c.
func (c *Conn) NetConn() net.Conn { return c.socket }

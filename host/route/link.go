package route

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// flushTime is how long a connection may take, before it is reset, to deliver the bytes that were already written.
const flushTime = time.Second

// A link is a connection of a session. A reset discards bytes that the peer's system has not acknowledged yet, but frames
// decoded before a violation must arrive before the reset. So Reset waits for the acknowledgments in a goroutine of its own
// and then resets the connection; a Close after Reset does nothing.
type link struct {
	*endpoint.Conn
	writing atomic.Bool
	resets  atomic.Bool
	reset   chan struct{} // closed when a reset is over
}

func newLink(conn *endpoint.Conn) *link { return &link{Conn: conn, reset: make(chan struct{})} }

// Write implements relay.Link.
func (l *link) Write(p []byte) (int, error) {
	l.writing.Store(true)
	n, err := l.Conn.Write(p)
	l.writing.Store(false)
	return n, err
}

// WaitEnd implements relay.Link.
func (l *link) WaitEnd(halfClosed func()) error { return l.Conn.WaitEnd(halfClosed, l.resets.Load) }

// Reset implements relay.Link.
func (l *link) Reset() error {
	if l.resets.Swap(true) {
		return nil
	}
	if l.writing.Load() { // Write is blocked: the peer accepts nothing, so waiting would not help
		defer close(l.reset)
		return l.Conn.Reset()
	}
	_ = l.CloseRead() // wakes Read; an error means that the connection is broken, which wakes Read too
	go func() {
		defer close(l.reset)
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		_ = l.Flush(ctx) // bytes not delivered within flushTime are lost
		_ = l.Conn.Reset()
	}()
	return nil
}

// Close implements relay.Link.
func (l *link) Close() error {
	if l.resets.Load() {
		return nil
	}
	return l.Conn.Close()
}

// wait waits until a Reset that was called has closed the connection. Without one it returns at once.
func (l *link) wait() {
	if l.resets.Load() {
		<-l.reset
	}
}

// reasonOf returns the reason for which a session ends when an operation of a link fails with err.
func reasonOf(err error) relay.Reason {
	switch {
	case errors.Is(err, endpoint.ErrReset):
		return relay.Reset
	case errors.Is(err, endpoint.ErrPeerLost):
		return relay.PeerLost
	default:
		return relay.IOError
	}
}

func (r *Route) timeouts() relay.Timeouts {
	t := &r.config.Timeouts
	return relay.Timeouts{Idle: t.Idle, Frame: t.Frame, Write: t.Write, HalfClose: t.HalfClose}
}

// ipOf returns the IP address of the peer; "" for Unix sockets.
func ipOf(c *endpoint.Conn) string {
	if ip := c.RemoteIP(); ip.IsValid() {
		return ip.String()
	}
	return ""
}

// addressOf returns the address of the peer; "unix" for a Unix socket without a name, as a peer that dialed usually has.
func addressOf(c *endpoint.Conn) string {
	address := c.RemoteAddr()
	if address.Network() == "unix" {
		if name := address.String(); name != "" && name != "@" {
			return "unix://" + name
		}
		return "unix"
	}
	return address.String()
}

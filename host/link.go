package host

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// flushTime bounds how long a connection that is to be reset may take to deliver what was written before.
const flushTime = time.Second

// A link is a connection as a session wants it. A reset takes back what the peer's system has not acknowledged yet, but
// what was decoded before a violation has to arrive before it: so Reset waits for that, elsewhere, and Close leaves it
// at that.
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
	if l.writing.Load() { // the peer takes nothing, so waiting for it is of no use
		defer close(l.reset)
		return l.Conn.Reset()
	}
	_ = l.CloseRead() // wakes Read; where it fails, the connection is broken, which wakes it too
	go func() {
		defer close(l.reset)
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		_ = l.Flush(ctx) // what it could not deliver in time is lost
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

// wait returns when the connection is closed.
func (l *link) wait() {
	if l.resets.Load() {
		<-l.reset
	}
}

// reasonOf tells a session why an operation of a link failed.
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

package endpoint

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

func TestFlushThenResetTakesNothingBack(t *testing.T) {
	c, peer := pair(t, "tcp")
	sent := fill(t, c) // more bytes than the peer's system can buffer
	flushed := make(chan error)
	go func() { flushed <- errors.Join(c.Flush(t.Context()), c.Reset()) }()
	got, err := io.Copy(io.Discard, peer)
	if err := <-flushed; err != nil {
		t.Error(err)
	}
	if got != int64(sent) || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes, then %v, want all %d and a reset", got, err, sent)
	}
}

func TestFlushEndsEarly(t *testing.T) {
	late := errors.New("too late")
	tests := []struct {
		name   string
		happen func(c *Conn, peer socket, cancel func())
		want   error
	}{
		{"context done", func(_ *Conn, _ socket, cancel func()) { cancel() }, late},
		{"peer resets", func(_ *Conn, peer socket, _ func()) { reset(peer) }, ErrReset},
		{"closed here", func(c *Conn, _ socket, _ func()) { _ = c.Close() }, net.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, peer := pair(t, "tcp")
			fill(t, c)
			ctx, cancel := context.WithCancelCause(t.Context())
			flushed := make(chan error)
			go func() { flushed <- c.Flush(ctx) }()
			test.happen(c, peer, func() { cancel(late) })
			if err := <-flushed; !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	c, _ := pair(t, "unix")
	fill(t, c)
	if err := c.Flush(t.Context()); err != nil {
		t.Errorf("got %v over a Unix socket, want nothing to wait for", err)
	}
}

package route

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
)

// A chooser selects the codec of a new connection: that of the first rule that matches, or else the endpoint's own codec.
type chooser struct {
	rules   []config.Rule
	codec   string
	longest int           // length of the longest starts_with, in bytes
	timeout time.Duration // how long to wait for the bytes that a starts_with rule needs; 0: for ever
}

func newChooser(e *config.Endpoint, timeout time.Duration) *chooser {
	c := &chooser{rules: e.Select, codec: e.Codec, timeout: timeout}
	for _, rule := range e.Select {
		c.longest = max(c.longest, len(rule.StartsWith))
	}
	return c
}

// choose returns the name of the codec for conn. The bytes that it examines stay in the stream. The timeout runs only while
// a starts_with rule is undecided; a rule whose bytes did not come in time does not match. choose returns the error of a
// broken connection, or the cause of ctx when ctx ends.
func (c *chooser) choose(ctx context.Context, conn *endpoint.Conn) (string, error) {
	if codec, decided := c.decide(conn.RemoteIP(), nil, false); decided {
		return codec, nil
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if c.timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, c.timeout)
	}
	defer cancel()
	seen, err := conn.Peek(waiting, c.longest, func(seen []byte) bool {
		_, decided := c.decide(conn.RemoteIP(), seen, false)
		return decided
	})
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.DeadlineExceeded):
		return "", err
	}
	codec, _ := c.decide(conn.RemoteIP(), seen, true)
	return codec, nil
}

// decide applies the rules in order to the address of a peer and to seen, the first bytes that the peer sent. At a rule
// that more bytes could make match, decided is false, unless all says that no more bytes will come.
func (c *chooser) decide(peer netip.Addr, seen []byte, all bool) (codec string, decided bool) {
	for _, rule := range c.rules {
		want := []byte(rule.StartsWith)
		switch {
		case rule.Address.IsValid():
			if rule.Address.Contains(peer) {
				return rule.Codec, true
			}
		case bytes.HasPrefix(seen, want):
			return rule.Codec, true
		case !all && bytes.HasPrefix(want, seen):
			return "", false
		}
	}
	return c.codec, true
}

package host

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

// A chooser picks the codec of a connection when it opens: the first rule that matches, or else the endpoint's own.
type chooser struct {
	rules   []config.Rule
	codec   string
	longest int           // bytes that a rule may ask for
	timeout time.Duration // for which such a rule is waited for; 0: for ever
}

func newChooser(e *config.Endpoint, timeout time.Duration) *chooser {
	c := &chooser{rules: e.Select, codec: e.Codec, timeout: timeout}
	for _, rule := range e.Select {
		c.longest = max(c.longest, len(rule.StartsWith))
	}
	return c
}

// choose returns the name of the codec for conn. Bytes that it had to see stay in the stream. The clock runs only while
// a starts_with rule is undecided; what did not come in time does not match. The error is that of a connection that
// broke, or ctx's cause.
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

// decide applies the rules to a peer's address and the first bytes that it sent, in order. It is undecided at a rule
// that more bytes could make match, unless these are all that there will be.
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

package route

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// acceptFrom serves each connection that l accepts, until l is closed.
func (r *Route) acceptFrom(l *endpoint.Listener, serve func(*endpoint.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
		r.work.Go(func() { serve(conn) })
	}
}

func (r *Route) dial(ctx context.Context, e *config.Endpoint) (*endpoint.Conn, error) {
	if e.Dial.Scheme == "discover" {
		return r.dialService(ctx, e)
	}
	return endpoint.Dial(ctx, addressOfEndpoint(e.Dial), endpoint.DialOptions{Timeout: r.config.Timeouts.Connect, Keepalive: r.keepalive()})
}

// dialService connects to the service of e, at the first of its addresses that answers, within timeouts.connect. An address that does
// not answer may use up all of that time; the next call then tries another one.
func (r *Route) dialService(ctx context.Context, e *config.Endpoint) (conn *endpoint.Conn, err error) {
	dial := func(ctx context.Context, at netip.AddrPort) (err error) {
		address := endpoint.Address{Network: "tcp", Address: at.String()}
		conn, err = endpoint.Dial(ctx, address, endpoint.DialOptions{Keepalive: r.keepalive()})
		return err
	}
	err = r.presence.Find(ctx, e.Dial.Service, r.config.Timeouts.Connect, dial)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", e.Dial, err)
	}
	return conn, nil
}

func (r *Route) redialer(e *config.Endpoint) *endpoint.Redialer {
	return &endpoint.Redialer{
		Dial: func(ctx context.Context) (*endpoint.Conn, error) { return r.dial(ctx, e) },
		Min:  e.Reconnect.Min, Max: e.Reconnect.Max,
		Failed: func(err error, wait time.Duration) {
			r.log.Warn("connecting failed", "reason", string(relay.ConnectFailed), "error", err, "again_in", wait)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.closed[string(relay.ConnectFailed)]++
		},
	}
}

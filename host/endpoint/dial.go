package endpoint

import (
	"context"
	"fmt"
	"net"
	"time"
)

// DialOptions are ready as their zero value.
type DialOptions struct {
	Timeout   time.Duration // for name resolution and all attempts together; 0: the limits of the system alone
	Keepalive Keepalive
}

// Dial connects to addr. If a name has several addresses, Dial tries all of them: IPv6 and IPv4 in parallel, with a head
// start for the family that resolves first (RFC 6555). An error begins with "dial " and the URL of addr. Dial gives up when
// ctx is done; the Conn that it returns does not depend on ctx.
func Dial(ctx context.Context, addr Address, options DialOptions) (*Conn, error) {
	c, err := dial(ctx, addr, options)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

func dial(ctx context.Context, addr Address, options DialOptions) (*Conn, error) {
	if err := addr.check(); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: options.Timeout, KeepAlive: -1} // Go's default of 15s would replace "off"
	dialer.SetMultipathTCP(false)
	nc, err := dialer.DialContext(ctx, addr.Network, addr.Address)
	if err != nil {
		return nil, bare(err)
	}
	s := nc.(socket) // a *net.TCPConn or *net.UnixConn, by check
	options.Keepalive.apply(s)
	c, err := newConn(s, nil)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return c, nil
}

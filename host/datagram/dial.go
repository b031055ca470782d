package datagram

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Dial returns a Conn that sends to address, HOST:PORT; see [Conn] for HOST. A name is looked up
// once. An error begins with "dial udp://" and the address. ctx limits Dial alone, not the Conn.
// Dial does not find out whether a peer receives at address.
//
// The Conn sends from a port of its own and receives what is sent to that port: if address is unicast, only from
// address, otherwise from any sender.
func Dial(ctx context.Context, address string, options Options) (*Conn, error) {
	c, err := dialDatagram(ctx, address, options)
	if err != nil {
		return nil, fmt.Errorf("dial udp://%s: %w", address, err)
	}
	return c, nil
}

func dialDatagram(ctx context.Context, address string, options Options) (*Conn, error) {
	switch {
	case len(options.Groups) > 0:
		return nil, errors.New("got groups, want none: a group is dialed by its address")
	case options.Exclusive:
		return nil, errors.New("got exclusive, want it not: a port to send from is never shared")
	case options.TTL < 0 || options.TTL > 255:
		return nil, fmt.Errorf("got ttl %d, want 0 to 255", options.TTL)
	}
	host, port, err := parseUDP(ctx, address)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return nil, errors.New("got port 0, want 1 to 65535")
	}
	d := destination{to: netip.AddrPortFrom(limitedBroadcast, port)}
	if host != "*" {
		ip, err := lookupUDP(ctx, host)
		if err != nil {
			return nil, err
		}
		if ip.IsUnspecified() {
			return nil, fmt.Errorf("got host %s, want an address", host)
		}
		if ip.IsMulticast() {
			if options.Interfaces, err = zoneOf(ip, options.Interfaces); err != nil {
				return nil, err
			}
			ip = ip.WithZone("")
		}
		d.to = netip.AddrPortFrom(ip, port)
	}
	network, wildcard := networkOf(d.to.Addr().Is4())
	s, err := openUDP(ctx, network, netip.AddrPortFrom(wildcard, 0).String(), false, options.ReceiveBuffer)
	if err != nil {
		return nil, err
	}
	if d.to.Addr().IsMulticast() {
		if err := s.setTTL(max(options.TTL, 1)); err != nil {
			_ = s.conn.Close()
			return nil, err
		}
	}
	return newConn(s, options, receiving{}, d)
}

package datagram

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Listen returns a Conn that receives datagrams sent to address, HOST:PORT; see [Conn] for HOST.
// Port 0 means a free port. An error begins with "listen udp://" and the address. ctx limits Listen alone, not the
// Conn.
//
// The Conn can also send, for example answers: from the port that it listens on, to Datagram.Remote, which must be
// set.
func Listen(ctx context.Context, address string, options Options) (*Conn, error) {
	c, err := listenDatagram(ctx, address, options)
	if err != nil {
		return nil, fmt.Errorf("listen udp://%s: %w", address, err)
	}
	return c, nil
}

func listenDatagram(ctx context.Context, address string, options Options) (*Conn, error) {
	host, port, err := parseUDP(ctx, address)
	if err != nil {
		return nil, err
	}
	groups, err := checkGroups(options.Groups)
	if err != nil {
		return nil, err
	}
	if destinationUnknown && len(options.Interfaces) > 0 {
		return nil, errors.New("got interfaces, want none: this system does not report which one a datagram arrived on")
	}
	network, ip, only := "udp", netip.IPv6Unspecified(), netip.Addr{}
	if host != "" && host != "*" {
		if ip, err = lookupUDP(ctx, host); err != nil {
			return nil, err
		}
		network, _ = networkOf(ip.Is4())
		if ip.IsMulticast() {
			// A socket bound to the group would receive nothing else, but not every system can bind to a group.
			only = ip.WithZone("")
			if options.Interfaces, err = zoneOf(ip, options.Interfaces); err != nil {
				return nil, err
			}
			groups = append(groups, only)
			_, ip = networkOf(ip.Is4())
		}
		if len(groups) > 0 && groups[0].Is4() != ip.Is4() {
			return nil, fmt.Errorf("got group %s, want groups of the family of %s", groups[0], host)
		}
	} else if len(groups) > 0 {
		network, ip = networkOf(groups[0].Is4())
	}
	if only.IsValid() && len(groups) > 1 || len(groups) > 0 && !ip.IsUnspecified() {
		return nil, fmt.Errorf("got groups and host %s, want no host, or a wildcard, with groups", host)
	}
	bind := netip.AddrPortFrom(ip, port).String()
	if network == "udp" {
		bind = fmt.Sprintf(":%d", port) // both families, or IPv4 alone if the system has no IPv6
	}
	s, err := openUDP(ctx, network, bind, !options.Exclusive, options.ReceiveBuffer)
	if err != nil {
		return nil, err
	}
	return newConn(s, options, receiving{groups: groups, only: only}, destination{})
}

// checkGroups returns groups without zones, or an error unless all are multicast groups of one family.
func checkGroups(groups []netip.Addr) ([]netip.Addr, error) {
	var checked []netip.Addr
	for _, g := range groups {
		g = g.Unmap().WithZone("")
		if !g.IsMulticast() {
			return nil, fmt.Errorf("got group %s, want a multicast address", g)
		}
		if len(checked) > 0 && g.Is4() != checked[0].Is4() {
			return nil, fmt.Errorf("got groups %s and %s, want groups of one family", checked[0], g)
		}
		checked = append(checked, g)
	}
	return checked, nil
}

// zoneOf returns interfaces or, if ip has a zone, the interface that the zone names. Both together are an error.
func zoneOf(ip netip.Addr, interfaces []string) ([]string, error) {
	if ip.Zone() == "" {
		return interfaces, nil
	}
	if len(interfaces) > 0 {
		return nil, fmt.Errorf("got interfaces and zone %q, want one of the two", ip.Zone())
	}
	return []string{ip.Zone()}, nil
}

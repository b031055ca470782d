package datagram

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// limitedBroadcast addresses all machines on the sender's network (RFC 919).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// parseUDP returns the host and the port of HOST:PORT.
func parseUDP(ctx context.Context, address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("got address %q, want HOST:PORT", address)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return "", 0, fmt.Errorf("got port %q, want 0 to 65535 or a service's name", service)
	}
	return host, uint16(n), nil
}

// lookupUDP returns the address of host. If host has several, it returns the first IPv4 address, or else the first address.
func lookupUDP(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range found {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return found[0], nil
}

// networkOf returns udp4 or udp6, and the wildcard address of that family.
func networkOf(v4 bool) (network string, wildcard netip.Addr) {
	if v4 {
		return "udp4", netip.IPv4Unspecified()
	}
	return "udp6", netip.IPv6Unspecified()
}

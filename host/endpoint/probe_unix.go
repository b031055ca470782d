//go:build unix

package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// probeIP binds a socket and closes it again. A stream socket that does not listen accepts no connections. A datagram
// socket that does not share its address can't be bound while another socket is, so it takes no datagrams from that one.
func probeIP(ctx context.Context, addr Address) error {
	host, service, err := net.SplitHostPort(addr.Address)
	if err != nil {
		return err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, addr.Network, service)
	if err != nil {
		return err
	}
	ip := netip.IPv6Unspecified()
	if host != "" {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return bare(err)
		}
		ip = found[0].Unmap()
	}
	err = bindOnce(addr.Network, ip, port, host == "")
	if errors.Is(err, unix.EAFNOSUPPORT) && host == "" {
		err = bindOnce(addr.Network, netip.IPv4Unspecified(), port, false)
	}
	return err
}

func bindOnce(network string, ip netip.Addr, port int, both bool) error {
	family, kind := unix.AF_INET6, unix.SOCK_DGRAM
	if ip.Is4() {
		family = unix.AF_INET
	}
	if network == "tcp" {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	unix.CloseOnExec(fd)
	if kind == unix.SOCK_STREAM { // as for a listener: connections that have ended don't block the port
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if family == unix.AF_INET6 && err == nil {
		only := 1
		if both {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: port, Addr: v4(ip)}
	if family == unix.AF_INET6 {
		a := &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
		if zone := ip.Zone(); zone != "" {
			if i, err := net.InterfaceByName(zone); err == nil {
				a.ZoneId = uint32(i.Index)
			} else if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
				a.ZoneId = uint32(n)
			}
		}
		to = a
	}
	err = unix.Bind(fd, to)
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrInUse
	}
	return os.NewSyscallError("bind", err)
}

func v4(ip netip.Addr) (b [4]byte) {
	if ip.Is4() {
		b = ip.As4()
	}
	return b
}

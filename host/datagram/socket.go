package datagram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A socket is a bound socket with the options that never change.
type socket struct {
	conn          *net.UDPConn
	raw           syscall.RawConn
	local         netip.AddrPort
	p4            *ipv4.PacketConn // of a socket for IPv4; otherwise nil
	p6            *ipv6.PacketConn // of a socket for IPv6, or for both; otherwise nil
	both          bool             // the socket is for IPv4 and IPv6
	receiveBuffer int              // bytes that the system granted
}

// openUDP binds a socket to address; network is udp4, udp6, or udp for both. Package net enables broadcast.
func openUDP(ctx context.Context, network, address string, shared bool, receiveBuffer int) (*socket, error) {
	config := net.ListenConfig{Control: func(family, _ string, c syscall.RawConn) error {
		return withDescriptor(c, func(fd uintptr) error {
			if shared {
				if err := shareUDP(fd); err != nil {
					return err
				}
			}
			return prepareUDP(fd, family == "udp6")
		})
	}}
	conn, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, inner(err)
	}
	s := &socket{conn: conn.(*net.UDPConn)}
	if err := s.setUp(receiveBuffer); err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	s.both = network == "udp" && s.p6 != nil
	return s, nil
}

func (s *socket) setUp(receiveBuffer int) error {
	var err error
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return err
	}
	s.local = s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if s.local.Addr().Is4() {
		s.p4 = ipv4.NewPacketConn(s.conn)
		err = s.p4.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	} else {
		s.p6 = ipv6.NewPacketConn(s.conn)
		err = s.p6.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
	if err != nil && !destinationUnknown {
		return fmt.Errorf("ask for destination addresses: %w", inner(err))
	}
	return withDescriptor(s.raw, func(fd uintptr) error {
		var err error
		s.receiveBuffer, err = setReceiveBuffer(fd, receiveBuffer)
		return err
	})
}

// reaches reports whether s can send to an address of to's family.
func (s *socket) reaches(to netip.Addr) bool {
	return s.both || to.Is4() == (s.p4 != nil)
}

// setTTL sets the TTL of multicast datagrams, and enables their delivery on this machine too.
func (s *socket) setTTL(ttl int) error {
	if s.p4 != nil {
		if err := s.p4.SetMulticastTTL(ttl); err != nil {
			return fmt.Errorf("set the multicast ttl: %w", inner(err))
		}
		return inner(s.p4.SetMulticastLoopback(true))
	}
	if err := s.p6.SetMulticastHopLimit(ttl); err != nil {
		return fmt.Errorf("set the multicast hop limit: %w", inner(err))
	}
	return inner(s.p6.SetMulticastLoopback(true))
}

func (s *socket) join(index int, group netip.Addr) error {
	on, to := &net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()}
	if s.p4 != nil {
		return inner(s.p4.JoinGroup(on, to))
	}
	return inner(s.p6.JoinGroup(on, to))
}

func (s *socket) leave(index int, group netip.Addr) error {
	on, to := &net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()}
	if s.p4 != nil {
		return inner(s.p4.LeaveGroup(on, to))
	}
	return inner(s.p6.LeaveGroup(on, to))
}

// withDescriptor calls f with the descriptor of c and returns its error. If c is closed, it returns an error without calling
// f.
func withDescriptor(c syscall.RawConn, f func(fd uintptr) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}

// inner returns the error inside a net.OpError, without its addresses: the caller adds the address as the configuration writes it.
func inner(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

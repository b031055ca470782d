package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// UDPOptions are ready as their zero value.
type UDPOptions struct {
	// Port is the port of the LAN's announcements; 0: DefaultPort.
	Port uint16
	// Interfaces are names of interfaces, IPv4 addresses that they have, or networks of such addresses: eth0, 192.0.2.5,
	// 192.0.2.0/24. One that is not there is waited for. None: every interface that is up and can broadcast, or loopback if
	// there is nothing else.
	Interfaces []string
	// Changed, unless nil, is told when an interface that is used has gone, has come, or has another address: once for each
	// network that packets are no more sent to, or are from now on. What there was at first is not told. It must not call
	// the UDP.
	Changed func(use Use, gone bool)
}

// A Use is a network that packets are sent to, and heard from.
type Use struct {
	Interface string
	From      netip.Addr     // this machine's address there
	To        netip.AddrPort // where the broadcasts go
}

// MarshalText returns String, for logs in JSON.
func (u Use) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String returns the use as a phrase, such as "sends to 192.0.2.255:7331 from 192.0.2.5 on eth0".
func (u Use) String() string {
	return fmt.Sprintf("sends to %s from %s on %s", u.To, u.From, u.Interface)
}

// UDP is a Transport over IPv4 broadcast. It sends to the broadcast address of each network that the chosen interfaces
// are on (such as 192.0.2.255, on loopback 127.255.255.255) from the port that it listens on. It needs no privileges, and
// several processes of a machine can listen on the same port and all hear everything.
//
// Interfaces and addresses that come and go are followed, at most a second later, or at Refresh. Networks without a broadcast address
// (point to point, /31, /32) are passed over.
//
// A packet is received only if its sender is on a network of the interface that it arrived on, as that interface is
// configured here. So nothing from beyond a router is heard, whatever routers let pass. Linux tells on which interface a
// packet arrived. Elsewhere the sender's address decides, and loopback may not be able to broadcast.
type UDP struct {
	conn       *net.UDPConn
	port       uint16
	interfaces interfaces
	offLink    atomic.Int64
}

// ListenUDP returns a UDP transport. ctx is for making it only.
func ListenUDP(ctx context.Context, options UDPOptions) (*UDP, error) {
	if options.Port == 0 {
		options.Port = DefaultPort
	}
	for _, choice := range options.Interfaces {
		if err := CheckInterface(choice); err != nil {
			return nil, fmt.Errorf("discovery: interface: %w", err)
		}
	}
	config := net.ListenConfig{Control: prepareSocket}
	conn, err := config.ListenPacket(ctx, "udp4", fmt.Sprintf(":%d", options.Port))
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	u := &UDP{conn: conn.(*net.UDPConn), port: options.Port, interfaces: interfaces{choice: slices.Clone(options.Interfaces)}}
	if options.Changed != nil {
		u.interfaces.changed = func(l link, gone bool) { options.Changed(u.use(l), gone) }
	}
	if _, err := u.interfaces.now(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("discovery: interfaces: %w", err)
	}
	return u, nil
}

func (u *UDP) use(l link) Use {
	return Use{Interface: l.name, From: l.prefix.Addr(), To: netip.AddrPortFrom(l.broadcast, u.port)}
}

// Refresh looks at the interfaces at once, for whoever is told that they have changed.
func (u *UDP) Refresh() {
	u.interfaces.forget()
	_, _ = u.interfaces.now() // who sends or receives next tries again, and has the error
}

// Send broadcasts packet. The error is ErrNoInterface, perhaps wrapped, if there is no interface to do so on.
func (u *UDP) Send(packet []byte) error {
	links, err := u.interfaces.now()
	if err != nil {
		return fmt.Errorf("interfaces: %w", err)
	}
	if len(links) == 0 && len(u.interfaces.choice) > 0 {
		return fmt.Errorf("%w: %s: not there, not up, or without an IPv4 address", ErrNoInterface, strings.Join(u.interfaces.choice, ", "))
	}
	if len(links) == 0 {
		return ErrNoInterface
	}
	var errs []error
	for _, l := range links {
		to := u.use(l).To
		if _, _, err := u.conn.WriteMsgUDPAddrPort(packet, leaveBy(l), to); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return net.ErrClosed
			}
			errs = append(errs, fmt.Errorf("%v on %s: %w", to, l.name, bare(err)))
		}
	}
	if errs != nil {
		u.interfaces.forget()
	}
	return errors.Join(errs...)
}

// bare returns what is inside of a net.OpError, which would name addresses again.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Receive implements Transport.
func (u *UDP) Receive(buf []byte) (n int, from Origin, err error) {
	var ancillary [ancillarySize]byte
	for {
		n, size, _, source, err := u.conn.ReadMsgUDPAddrPort(buf, ancillary[:])
		if err != nil && cutOff(err) {
			n, err = len(buf), nil
		}
		if err != nil {
			return 0, Origin{}, bare(err)
		}
		links, err := u.interfaces.now()
		if err != nil {
			return 0, Origin{}, fmt.Errorf("interfaces: %w", err)
		}
		source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
		if l, ok := arrival(links, arrivedOn(ancillary[:size]), source.Addr()); ok {
			return n, Origin{Address: source, Interface: l.name}, nil
		}
		u.offLink.Add(1)
	}
}

// OffLink returns how many packets were passed over since they did not come from a network of a chosen interface.
func (u *UDP) OffLink() int64 { return u.offLink.Load() }

// Addresses returns the addresses of this machine on the networks that are sent to, for [AnnouncerOptions].Addresses.
func (u *UDP) Addresses() []netip.Addr {
	links, _ := u.interfaces.now() // no addresses, then
	addresses := make([]netip.Addr, 0, len(links))
	for _, l := range links {
		addresses = append(addresses, l.prefix.Addr())
	}
	return addresses
}

// Close implements Transport.
func (u *UDP) Close() error { return u.conn.Close() }

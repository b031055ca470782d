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
	// Port is the UDP port to send to and to listen on; 0: DefaultPort.
	Port uint16
	// Interfaces are names of interfaces, their IPv4 addresses, or networks of such addresses: eth0, 192.0.2.5,
	// 192.0.2.0/24. One that does not exist is used once it appears. Empty: every interface that is up and can broadcast,
	// or loopback if there is no other.
	Interfaces []string
	// Changed, unless nil, is called for each network that is used from now on or, if gone, is no longer used, because an
	// interface or an address came or went. It is not called for the networks found by ListenUDP. It must not call the UDP.
	Changed func(use Use, gone bool)
}

// A Use is a network on which packets are sent and received.
type Use struct {
	Interface string
	From      netip.Addr     // this machine's address on the network
	To        netip.AddrPort // the address of broadcasts
}

// MarshalText returns String, for logs in JSON.
func (u Use) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String returns the use as a phrase, such as "sends to 192.0.2.255:7331 from 192.0.2.5 on eth0".
func (u Use) String() string {
	return fmt.Sprintf("sends to %s from %s on %s", u.To, u.From, u.Interface)
}

// UDP is a Transport over IPv4 broadcast. It sends to the broadcast address of each network of the chosen interfaces (such
// as 192.0.2.255; on loopback 127.255.255.255), from the port that it listens on. It needs no privileges. Several processes
// of a machine can listen on the same port, and each receives all packets.
//
// UDP follows interfaces and addresses that come and go: when it sends or receives, it uses a list that is at most a second
// old; see also Refresh. It skips networks without a broadcast address (point to point, /31, /32).
//
// UDP ignores a packet unless the sender's address is in a network of the interface that the packet arrived on. So it
// ignores packets from beyond a router, even if routers forward them. Linux reports the interface on which a packet arrived.
// On other systems the sender's address alone decides, and loopback may not be able to broadcast.
type UDP struct {
	conn       *net.UDPConn
	port       uint16
	interfaces interfaces
	offLink    atomic.Int64
}

// ListenUDP returns a UDP transport. ctx limits ListenUDP alone, not the transport.
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

// Refresh lists the interfaces again at once. Call it when interfaces have changed.
func (u *UDP) Refresh() {
	u.interfaces.forget()
	_, _ = u.interfaces.now() // after an error, the next Send or Receive tries again and returns it
}

// Send broadcasts packet. The error is ErrNoInterface, perhaps wrapped, if no chosen interface can broadcast.
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

// bare returns the error inside a net.OpError, without its addresses, which the caller adds.
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
		if err != nil && isTruncated(err) {
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

// OffLink returns how many packets were ignored because they did not come from a network of a chosen interface.
func (u *UDP) OffLink() int64 { return u.offLink.Load() }

// Addresses returns this machine's addresses on the networks in use, for [AnnouncerOptions].Addresses.
func (u *UDP) Addresses() []netip.Addr {
	links, _ := u.interfaces.now() // after an error, there are no addresses
	addresses := make([]netip.Addr, 0, len(links))
	for _, l := range links {
		addresses = append(addresses, l.prefix.Addr())
	}
	return addresses
}

// Close implements Transport.
func (u *UDP) Close() error { return u.conn.Close() }

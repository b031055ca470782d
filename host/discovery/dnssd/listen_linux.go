package dnssd

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// listen answers queries received on the chosen interfaces. all are the interfaces of the machine. listen may return both an
// error and values to close, if it fails on some interfaces only.
//
// On Linux, a socket bound to the wildcard address receives datagrams to all groups that any socket on the machine has
// joined (IP_MULTICAST_ALL), and the library has no option to turn that off. Several servers would all answer each query. So
// there is one server, on loopback, which does not go away, and sockets of this package join the groups on the chosen
// interfaces.
func listen(chosen []used, all []Interface, z *zone, log *log.Logger) (open []io.Closer, err error) {
	if len(chosen) == 0 {
		return nil, ErrNoInterface
	}
	s, err := serve(serverInterface(chosen, all), z, log)
	if err != nil {
		return nil, err
	}
	open = append(open, s)
	var errs []error
	for i := range chosen {
		members, err := chosen[i].join()
		open, errs = append(open, members...), append(errs, err)
	}
	return open, errors.Join(errs...)
}

// serverInterface returns the interface for the one server: loopback if it has all address families that are needed, otherwise a
// chosen interface.
func serverInterface(chosen []used, all []Interface) *net.Interface {
	var need used
	for _, u := range chosen {
		need.v4, need.v6 = need.v4 || u.v4, need.v6 || u.v6
	}
	suffices := func(u used) bool { return (u.v4 || !need.v4) && (u.v6 || !need.v6) }
	for i := range all {
		if lo := use(&all[i]); all[i].Loopback && all[i].Up && suffices(lo) {
			return lo.net()
		}
	}
	return chosen[max(slices.IndexFunc(chosen, suffices), 0)].net()
}

// join joins the groups on the interface. The memberships last until members are closed.
func (u *used) join() (members []io.Closer, err error) {
	join := func(network string, join func(net.PacketConn) error) error {
		c, err := net.ListenPacket(network, ":0") // receives nothing: no packets are sent to its port
		if err == nil {
			members = append(members, c)
			err = join(c)
		}
		if err != nil {
			return fmt.Errorf("listen for multicast DNS on %s: %w", u.name, err)
		}
		return nil
	}
	var errs []error
	if u.v4 {
		errs = append(errs, join("udp4", func(c net.PacketConn) error { return ipv4.NewPacketConn(c).JoinGroup(u.net(), group4) }))
	}
	if u.v6 {
		errs = append(errs, join("udp6", func(c net.PacketConn) error { return ipv6.NewPacketConn(c).JoinGroup(u.net(), group6) }))
	}
	return members, errors.Join(errs...)
}

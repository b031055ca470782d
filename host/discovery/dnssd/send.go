package dnssd

import (
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The multicast DNS groups.
var (
	group4 = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	group6 = &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: 5353}
)

// hops is the IP TTL of packets (RFC 6762, section 11). Some receivers check it: no packet from beyond a router has it.
const hops = 255

// flush marks a record that replaces all others of its name and type (RFC 6762, section 10.2).
const flush = 1 << 15

// announcement makes a packet with records, with a time to live of ttl seconds. If ttl is 0, the packet is a goodbye.
func announcement(records []dns.RR, ttl uint32) ([]byte, error) {
	said := dns.Msg{Compress: true}
	said.Response, said.Authoritative = true, true
	for _, one := range records {
		one = dns.Copy(one)
		one.Header().Ttl = ttl
		if one.Header().Rrtype != dns.TypePTR {
			one.Header().Class |= flush // a type has PTR records of many instances; the other records are unique
		}
		said.Answer = append(said.Answer, one)
	}
	packet, err := said.Pack()
	if err != nil {
		return nil, fmt.Errorf("announce by DNS-SD: %w", err)
	}
	return packet, nil
}

// send multicasts a packet on the interface. It closes its sockets at once: they are bound to the multicast DNS port, as
// announcements require, and would receive packets that are meant for other programs.
func (u *used) send(packet []byte) error {
	var errs []error
	if u.v4 {
		errs = append(errs, u.send4(packet))
	}
	if u.v6 {
		errs = append(errs, u.send6(packet))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("announce on %s: %w", u.name, err)
	}
	return nil
}

func (u *used) send4(packet []byte) error {
	c, err := net.ListenMulticastUDP("udp4", u.net(), group4)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	p := ipv4.NewPacketConn(c)
	// Package net turns off multicast loopback; programs on this machine must receive the packet too.
	if err := errors.Join(p.SetMulticastTTL(hops), p.SetMulticastLoopback(true)); err != nil {
		return err
	}
	_, err = c.WriteToUDP(packet, group4)
	return err
}

func (u *used) send6(packet []byte) error {
	c, err := net.ListenMulticastUDP("udp6", u.net(), group6)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	p := ipv6.NewPacketConn(c)
	if err := errors.Join(p.SetMulticastHopLimit(hops), p.SetMulticastLoopback(true)); err != nil {
		return err
	}
	_, err = c.WriteToUDP(packet, group6)
	return err
}

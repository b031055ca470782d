package dnssd

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
)

// An Interface is a network interface of the machine, as it is at one moment.
type Interface struct {
	Name      string
	Index     int
	Up        bool
	Loopback  bool
	Multicast bool
	Addresses []netip.Prefix // each with its network, not masked
}

// A used interface is one that is listened on.
type used struct {
	name      string
	index     int
	v4, v6    bool         // whether it has an address of the family
	addresses []netip.Addr // that are announced
}

// net returns the interface as package net has it, as far as its functions for multicast look at it.
func (u *used) net() *net.Interface { return &net.Interface{Index: u.index, Name: u.name} }

// choose returns the interfaces that choice names; if there is none in it, all that can multicast, but not loopback.
func choose(all []Interface, choice []string) (chosen []used) {
	for i := range all {
		n := &all[i]
		if !n.Up || len(choice) == 0 && (n.Loopback || !n.Multicast) {
			continue
		}
		u := use(n)
		if !slices.Contains(choice, n.Name) && len(choice) > 0 {
			u.addresses = slices.DeleteFunc(u.addresses, func(a netip.Addr) bool {
				return !slices.ContainsFunc(choice, func(c string) bool { return names(c, a) })
			})
		}
		if len(u.addresses) > 0 {
			chosen = append(chosen, u)
		}
	}
	return chosen
}

// use returns n with all that it can be used for.
func use(n *Interface) used {
	u := used{name: n.Name, index: n.Index}
	for _, p := range n.Addresses {
		a := p.Addr()
		u.v4, u.v6 = u.v4 || a.Is4(), u.v6 || a.Is6()
		if !onLinkAlone(a) {
			u.addresses = append(u.addresses, a)
		}
	}
	return u
}

// names reports whether choice is a, or a network that it is in.
func names(choice string, a netip.Addr) bool {
	if network, err := netip.ParsePrefix(choice); err == nil {
		return network.Contains(a)
	}
	return choice == a.String()
}

// onLinkAlone reports whether a means nothing without its link. IPv4 has such addresses too, but they are reached without.
func onLinkAlone(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

func same(a, b []used) bool { return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)) }

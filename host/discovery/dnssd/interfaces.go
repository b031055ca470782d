package dnssd

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
)

// An Interface is a network interface of the machine as it was at one moment.
type Interface struct {
	Name      string
	Index     int
	Up        bool
	Loopback  bool
	Multicast bool
	Addresses []netip.Prefix // each with its network, not masked
}

// A used interface is one that the Responder listens on, or may listen on.
type used struct {
	name      string
	index     int
	v4, v6    bool         // whether the interface has an address of the family
	addresses []netip.Addr // the addresses to announce
}

// net returns the interface as a net.Interface, with only the fields that multicast functions use.
func (u *used) net() *net.Interface { return &net.Interface{Index: u.index, Name: u.name} }

// choose returns the interfaces of all that are up, that choice names, and that have an address to announce. If choice is
// empty, it takes those that can multicast, except loopback.
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

// use returns n as a used interface, with all addresses that can be announced.
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

// names reports whether choice is the address a, or a network that contains a.
func names(choice string, a netip.Addr) bool {
	if network, err := netip.ParsePrefix(choice); err == nil {
		return network.Contains(a)
	}
	return choice == a.String()
}

// onLinkAlone reports whether a is a link-local IPv6 address, which is ambiguous without its link. Link-local IPv4 addresses
// are not: they are reached without naming the link.
func onLinkAlone(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

func same(a, b []used) bool { return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b)) }

package datagram

import (
	"net/netip"
	"slices"

	"github.com/framehost/framehost/host/netif"
)

// A destination is the address that was dialed. The zero value stands for a listener.
type destination struct{ to netip.AddrPort }

// A target is where one copy of each datagram goes.
type target struct {
	use   Use
	index int   // of the interface to send from; 0: the system chooses
	fails error // the last error passed to SendFailed, nil if sending works; guarded by the conn's writeMu
}

// targets returns the targets of copies for the interfaces of list; nil for a listener.
func (d destination) targets(list []netif.Interface, choices []choice) []*target {
	to := d.to.Addr()
	one := !to.IsMulticast() && to != limitedBroadcast
	if !d.to.IsValid() {
		return nil
	}
	if one && len(choices) == 0 {
		return []*target{{use: Use{To: d.to}}}
	}
	var found []*target
	add := func(i chosen, to, from netip.Addr) {
		use := Use{Interface: i.Name, To: netip.AddrPortFrom(to, d.to.Port()), From: from}
		found = append(found, &target{use: use, index: i.Index})
	}
	added := func(i chosen, to netip.Addr) bool { // two addresses in one network need only one copy
		return slices.ContainsFunc(found, func(t *target) bool { return t.index == i.Index && t.use.To.Addr() == to })
	}
	for _, i := range choose(list, choices) {
		from := first(i.Addresses, to.Is4())
		switch {
		case !from.IsValid():
		case to == limitedBroadcast:
			if !i.named && (i.Loopback || !i.Broadcast) {
				continue
			}
			for _, a := range i.Addresses {
				if a.Broadcast.IsValid() && !added(i, a.Broadcast) {
					add(i, a.Broadcast, a.Prefix.Addr())
				}
			}
		case to.IsMulticast():
			if !i.named && (i.Loopback || !i.Multicast) {
				continue
			}
			if to.Is6() {
				from = netip.Addr{} // the system chooses by the scope of the group
			}
			add(i, to, from)
		case inNetwork(i.Addresses, to):
			add(i, to, from)
			return found[len(found)-1:] // an interface in the network of the dialed address overrides the others
		default:
			add(i, to, from)
		}
	}
	if one && len(found) > 1 {
		found = found[:1]
	}
	return found
}

// inNetwork reports whether ip is in the network of one of addresses.
func inNetwork(addresses []netif.Address, ip netip.Addr) bool {
	return slices.ContainsFunc(addresses, func(a netif.Address) bool { return a.Prefix.Contains(ip.WithZone("")) })
}

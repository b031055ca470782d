package endpoint

import (
	"net/netip"
	"slices"
)

// A destination is what was dialed; its zero value is that of a listener.
type destination struct{ to netip.AddrPort }

// A target is where one copy of each datagram goes.
type target struct {
	use   DatagramUse
	index int   // of the interface to leave by; 0: the system chooses
	fails error // what SendFailed was told; guarded by the conn's writeMu
}

// targets returns where copies go, as the interfaces are now.
func (d destination) targets(list []Interface, choices []choice) []*target {
	to := d.to.Addr()
	one := !to.IsMulticast() && to != limitedBroadcast
	if !d.to.IsValid() {
		return nil
	}
	if one && len(choices) == 0 {
		return []*target{{use: DatagramUse{To: d.to}}}
	}
	var found []*target
	add := func(i chosen, to, from netip.Addr) {
		use := DatagramUse{Interface: i.Name, To: netip.AddrPortFrom(to, d.to.Port()), From: from}
		found = append(found, &target{use: use, index: i.Index})
	}
	added := func(i chosen, to netip.Addr) bool { // two addresses in one network make one copy
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
				from = netip.Addr{} // which of an interface's addresses fits depends on the group's scope
			}
			add(i, to, from)
		case inNetwork(i.Addresses, to):
			add(i, to, from)
			return found[len(found)-1:] // the interface that is in the network of what was dialed
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
func inNetwork(addresses []InterfaceAddress, ip netip.Addr) bool {
	return slices.ContainsFunc(addresses, func(a InterfaceAddress) bool { return a.Prefix.Contains(ip.WithZone("")) })
}

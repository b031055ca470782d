package datagram

import (
	"net/netip"
	"strconv"

	"github.com/framehost/framehost/host/netif"
)

// A view holds the facts about interfaces that receiving and sending need. It is immutable.
type view struct {
	names      map[int]string
	indices    map[string]int
	broadcasts map[netip.Addr]struct{}
	targets    []*target

	// The chosen interfaces, and their addresses; nil if all interfaces are chosen.
	interfaces map[int]struct{}
	addresses  map[netip.Addr]struct{}
}

func newView(list []netif.Interface, choices []choice) *view {
	v := &view{names: map[int]string{}, indices: map[string]int{}, broadcasts: map[netip.Addr]struct{}{}}
	for _, i := range list {
		v.names[i.Index], v.indices[i.Name] = i.Name, i.Index
		for _, a := range i.Addresses {
			if a.Broadcast.IsValid() {
				v.broadcasts[a.Broadcast] = struct{}{}
			}
		}
	}
	if len(choices) == 0 {
		return v
	}
	v.interfaces, v.addresses = map[int]struct{}{}, map[netip.Addr]struct{}{}
	for _, i := range choose(list, choices) {
		v.interfaces[i.Index] = struct{}{}
		for _, a := range i.Addresses {
			v.addresses[a.Prefix.Addr()] = struct{}{}
		}
	}
	return v
}

// cast returns the Cast of a datagram that was sent to the address to.
func (v *view) cast(to netip.Addr) Cast {
	switch {
	case !to.IsValid():
		return UnknownCast
	case to.IsMulticast():
		return Multicast
	case to == limitedBroadcast:
		return Broadcast
	}
	if _, ok := v.broadcasts[to]; ok {
		return Broadcast
	}
	return Unicast
}

// wants reports whether d arrived on a chosen interface, or was sent to an address of one: a datagram that a machine sends
// to itself arrives on loopback.
func (v *view) wants(d *Datagram) bool {
	if v.interfaces == nil {
		return true
	}
	if _, ok := v.interfaces[d.Interface]; ok {
		return true
	}
	_, ok := v.addresses[d.Local]
	return ok
}

// scope returns the number of ip's zone, or 0 if ip has none or an unknown one.
func (v *view) scope(ip netip.Addr) int {
	if ip.Zone() == "" {
		return 0
	}
	if index, ok := v.indices[ip.Zone()]; ok {
		return index
	}
	n, _ := strconv.Atoi(ip.Zone())
	return n
}

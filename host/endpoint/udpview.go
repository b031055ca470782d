package endpoint

import (
	"net/netip"
	"strconv"
)

// A datagramView is what receiving and sending need to know of the interfaces. It does not change.
type datagramView struct {
	names      map[int]string
	indices    map[string]int
	broadcasts map[netip.Addr]struct{}
	targets    []*target

	// The interfaces chosen, and their addresses; nil where all are.
	interfaces map[int]struct{}
	addresses  map[netip.Addr]struct{}
}

func newDatagramView(list []Interface, choices []choice) *datagramView {
	v := &datagramView{names: map[int]string{}, indices: map[string]int{}, broadcasts: map[netip.Addr]struct{}{}}
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

// cast says to how many a datagram was sent whose destination is to.
func (v *datagramView) cast(to netip.Addr) Cast {
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

// wants reports whether a datagram came in by an interface chosen, or for an address of one: what a machine sends to
// itself comes in by loopback.
func (v *datagramView) wants(d *Datagram) bool {
	if v.interfaces == nil {
		return true
	}
	if _, ok := v.interfaces[d.Interface]; ok {
		return true
	}
	_, ok := v.addresses[d.Local]
	return ok
}

// scope returns the number of ip's zone, 0 where it has none or an unknown one.
func (v *datagramView) scope(ip netip.Addr) int {
	if ip.Zone() == "" {
		return 0
	}
	if index, ok := v.indices[ip.Zone()]; ok {
		return index
	}
	n, _ := strconv.Atoi(ip.Zone())
	return n
}

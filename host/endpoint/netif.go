package endpoint

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
)

// An Interface is a network interface as it was at one moment.
type Interface struct {
	Name      string
	Index     int // the system's number; an interface that goes and comes back under its name has another one
	Up        bool
	Loopback  bool
	Broadcast bool // whether the kind of network knows broadcast; loopback does not say so, and can on Linux
	Multicast bool
	Addresses []InterfaceAddress // in the order of the system
}

// An InterfaceAddress is an address of an interface, with its network.
type InterfaceAddress struct {
	Prefix    netip.Prefix // the address, not masked, and how many of its bits are the network's; without a zone
	Broadcast netip.Addr   // directed broadcast of the network; the zero Addr for IPv6, and for IPv4 where it has none
}

// first returns the first address of one family, or the zero Addr.
func first(addresses []InterfaceAddress, v4 bool) netip.Addr {
	for _, a := range addresses {
		if a.Prefix.Addr().Is4() == v4 {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// directedBroadcast returns the last address of p's network: the one with all host bits set. Networks of one or two
// IPv4 addresses have none (RFC 3021), nor has IPv6.
func directedBroadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// Interfaces follows the network interfaces of the system: which there are, whether they are up, and their addresses.
// Linux reports changes (rtnetlink); other systems are asked every three seconds. It is safe for concurrent use.
type Interfaces struct {
	mu        sync.Mutex // held while followers are told, hence one at a time
	list      []Interface
	followers map[*follower]struct{}

	end  sync.Once
	stop func() // ends what calls refresh, and waits for it
}

type follower struct{ tell func([]Interface) }

// WatchInterfaces reads the interfaces and follows them until Close.
func WatchInterfaces() (*Interfaces, error) {
	w := &Interfaces{followers: map[*follower]struct{}{}}
	// Changes are subscribed to before the first look, so that none falls between.
	stop, err := w.watch()
	if err != nil {
		return nil, fmt.Errorf("follow network interfaces: %w", err)
	}
	w.stop = stop
	if err := w.refresh(); err != nil {
		w.Close()
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	return w, nil
}

// List returns the interfaces as they were last seen. It must not be changed.
func (w *Interfaces) List() []Interface {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}

// Follow calls tell with the interfaces as they are, before it returns, and again whenever they changed. Calls are made
// one at a time, and the list must not be changed. After stop has returned, tell is not called any more. tell may call
// nothing of w, nor stop.
func (w *Interfaces) Follow(tell func([]Interface)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &follower{tell}
	w.followers[f] = struct{}{}
	tell(w.list)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.followers, f)
	}
}

// Close ends following. Followers are not told any more once it has returned. To do it again does nothing.
func (w *Interfaces) Close() { w.end.Do(w.stop) }

// refresh looks at the interfaces again, and tells followers if they changed.
func (w *Interfaces) refresh() error {
	w.mu.Lock() // before looking: of two looks, the later one must be what stays
	defer w.mu.Unlock()
	list, err := listInterfaces()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b Interface) int { return a.Index - b.Index })
	if reflect.DeepEqual(list, w.list) {
		return nil
	}
	w.list = list
	for f := range w.followers {
		f.tell(list)
	}
	return nil
}

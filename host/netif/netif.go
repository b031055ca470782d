// Package netif lists the network interfaces of this machine, and follows them as they come and go.
package netif

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
	Index     int // the system's number; an interface that is removed and created again has another one
	Up        bool
	Loopback  bool
	Broadcast bool // the kind of network supports broadcast; false for loopback, which can broadcast on Linux all the same
	Multicast bool
	Addresses []Address // in the order of the system
}

// An Address is an address of an interface, with its network.
type Address struct {
	Prefix    netip.Prefix // the address, not masked, with the number of its network bits; without a zone
	Broadcast netip.Addr   // the directed broadcast address of the network; the zero Addr for IPv6, or if there is none
}

// DirectedBroadcast returns the last address of p's network, with all host bits set. It returns the zero Addr for IPv6 and
// for networks of one or two IPv4 addresses, which have no broadcast address (RFC 3021).
func DirectedBroadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// A Watcher follows the network interfaces of the system: which exist, whether they are up, and their addresses. Linux
// reports changes (rtnetlink); other systems are polled every three seconds. A Watcher is safe for concurrent use.
type Watcher struct {
	mu        sync.Mutex // held while followers are called, so that their calls don't overlap
	list      []Interface
	followers map[*follower]struct{}

	end  sync.Once
	stop func() // ends the goroutine that calls refresh, and waits for it
}

type follower struct{ notify func([]Interface) }

// Watch reads the interfaces and follows them until Close.
func Watch() (*Watcher, error) {
	w := &Watcher{followers: map[*follower]struct{}{}}
	// Subscribe before the first listing, so that no change is missed between the two.
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

// Followers returns how many calls of Follow are in force.
func (w *Watcher) Followers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.followers)
}

// List returns the interfaces as they were last seen. The slice must not be changed.
func (w *Watcher) List() []Interface {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}

// Follow calls notify with the current interfaces before it returns, and again after each change. Calls don't overlap.
// notify must not change the list, and must not call stop or a method of w. After stop has returned, notify is not called
// again.
func (w *Watcher) Follow(notify func([]Interface)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &follower{notify}
	w.followers[f] = struct{}{}
	notify(w.list)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.followers, f)
	}
}

// Close ends following. Once it has returned, followers are not called again. Further calls do nothing.
func (w *Watcher) Close() { w.end.Do(w.stop) }

// refresh lists the interfaces again, and calls followers if the list changed.
func (w *Watcher) refresh() error {
	w.mu.Lock() // before listing: of two lists, the later one must be stored last
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
		f.notify(list)
	}
	return nil
}

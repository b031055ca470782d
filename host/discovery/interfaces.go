package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// interfacesLife is how long the list of interfaces is used before it is looked up again.
const interfacesLife = time.Second

// A link is an address of this machine in a network that can broadcast.
type link struct {
	name      string
	index     int
	prefix    netip.Prefix // with this machine's address in it
	broadcast netip.Addr   // of that network
}

// interfaces caches the links of the chosen interfaces, for at most interfacesLife.
type interfaces struct {
	choice  []string
	changed func(l link, gone bool) // may be nil

	mu    sync.Mutex // held while changed is called, so that its calls are in order
	links []link
	known bool      // links were looked up before, so a difference is a change
	at    time.Time // when links were looked up; zero: look them up at the next use
}

// now returns the current links. The caller must not change the slice.
func (i *interfaces) now() ([]link, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.at.IsZero() && time.Since(i.at) < interfacesLife {
		return i.links, nil
	}
	all, err := lookUp()
	if err != nil {
		return nil, err
	}
	before := i.links
	i.links, i.at = choose(all, i.choice), time.Now()
	if i.known && i.changed != nil {
		i.reportChanges(before)
	}
	i.known = true
	return i.links, nil
}

// reportChanges calls changed for each difference from the links before: first for links that are gone, then for new ones.
func (i *interfaces) reportChanges(before []link) {
	for _, l := range before {
		if !slices.Contains(i.links, l) {
			i.changed(l, true)
		}
	}
	for _, l := range i.links {
		if !slices.Contains(before, l) {
			i.changed(l, false)
		}
	}
}

// forget makes the next call of now look up the links.
func (i *interfaces) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at = time.Time{}
}

// A candidate is a link that may be chosen.
type candidate struct {
	link
	loopback bool
}

// lookUp returns all links of the machine.
func lookUp() ([]candidate, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var links []candidate
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&(net.FlagBroadcast|net.FlagLoopback) == 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // the interface was removed meanwhile
		}
		for _, a := range addresses {
			prefix, ok := prefixOf(a)
			if !ok {
				continue
			}
			links = append(links, candidate{
				link:     link{i.Name, i.Index, prefix, broadcastOf(prefix)},
				loopback: i.Flags&net.FlagLoopback != 0,
			})
		}
	}
	return links, nil
}

// prefixOf returns a and its network if a is an IPv4 address in a network that has a broadcast address.
func prefixOf(a net.Addr) (netip.Prefix, bool) {
	n, ok := a.(*net.IPNet)
	if !ok {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if address = address.Unmap(); !ok || !address.Is4() || size != 32 || bits > 30 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, bits), true
}

// broadcastOf returns the last address of p's network.
func broadcastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// CheckInterface returns an error if text is not valid in [UDPOptions].Interfaces. It does not check whether such an
// interface exists.
func CheckInterface(text string) error {
	address, notAddress := netip.ParseAddr(text)
	network, notNetwork := netip.ParsePrefix(text)
	switch {
	case notAddress == nil && address.Is4(), notNetwork == nil && network.Addr().Is4():
		return nil
	case text == "" || strings.ContainsAny(text, "/: \t\r\n\x00"):
		return fmt.Errorf("got %q, want the name of an interface, an IPv4 address of it, or its network such as 192.0.2.0/24", text)
	}
	return nil
}

// names reports whether choice is the name of o's interface, its address, or a network that contains the address.
func (o *candidate) names(choice string) bool {
	if network, err := netip.ParsePrefix(choice); err == nil {
		return network.Contains(o.prefix.Addr())
	}
	return choice == o.name || choice == o.prefix.Addr().String()
}

// choose returns the links that choice names. If choice is empty, it returns all links but loopback, or loopback if there is
// no other.
func choose(all []candidate, choice []string) []link {
	var chosen, loopback []link
	for _, o := range all {
		switch {
		case len(choice) > 0:
			if slices.ContainsFunc(choice, o.names) {
				chosen = append(chosen, o.link)
			}
		case o.loopback:
			loopback = append(loopback, o.link)
		default:
			chosen = append(chosen, o.link)
		}
	}
	if len(choice) == 0 && len(chosen) == 0 {
		return loopback
	}
	return chosen
}

// arrival returns the link on which a packet from source arrived. index is the interface that the packet arrived on, or 0 if
// the system does not report it. arrival returns false if source is in no network of that interface.
func arrival(links []link, index int, source netip.Addr) (link, bool) {
	for _, l := range links {
		if (index == 0 || l.index == index) && l.prefix.Contains(source) {
			return l, true
		}
	}
	return link{}, false
}

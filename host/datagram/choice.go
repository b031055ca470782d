package datagram

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/framehost/framehost/host/netif"
)

// A choice selects interfaces: by name, by an address that an interface has, or by the network of such an address.
type choice struct {
	name   string
	prefix netip.Prefix // valid if name is empty; a single address is a network of one
}

func parseChoices(texts []string) ([]choice, error) {
	choices := make([]choice, 0, len(texts))
	for _, text := range texts {
		if ip, err := netip.ParseAddr(text); err == nil {
			ip = ip.Unmap().WithZone("")
			choices = append(choices, choice{prefix: netip.PrefixFrom(ip, ip.BitLen())})
		} else if p, err := netip.ParsePrefix(text); err == nil {
			choices = append(choices, choice{prefix: p.Masked()})
		} else if text != "" && !strings.ContainsAny(text, "/: \t\n") {
			choices = append(choices, choice{name: text})
		} else {
			return nil, fmt.Errorf("got interface %q, want a name, an address or a network such as 192.168.1.0/24", text)
		}
	}
	return choices, nil
}

// chosen is an interface that is up, with those of its addresses that were chosen.
type chosen struct {
	netif.Interface
	named bool // a choice selected it; false if there were no choices, so that all interfaces are chosen
}

// choose returns the interfaces of list that are up and that one of choices selects; without choices, all that are up. An
// interface that was chosen by address or network keeps only the addresses that match.
func choose(list []netif.Interface, choices []choice) []chosen {
	var found []chosen
	for _, i := range list {
		if !i.Up {
			continue
		}
		if len(choices) == 0 {
			found = append(found, chosen{Interface: i})
			continue
		}
		byName := false
		var addresses []netif.Address
		for _, a := range i.Addresses {
			for _, c := range choices {
				if c.name == "" && c.prefix.Contains(a.Prefix.Addr()) {
					addresses = append(addresses, a)
					break
				}
			}
		}
		for _, c := range choices {
			byName = byName || c.name == i.Name
		}
		if !byName {
			i.Addresses = addresses
		}
		if byName || len(addresses) > 0 {
			found = append(found, chosen{Interface: i, named: true})
		}
	}
	return found
}

// first returns the first IPv4 (v4) or IPv6 address, or the zero Addr.
func first(addresses []netif.Address, v4 bool) netip.Addr {
	for _, a := range addresses {
		if a.Prefix.Addr().Is4() == v4 {
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

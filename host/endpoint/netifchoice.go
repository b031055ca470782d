package endpoint

import (
	"fmt"
	"net/netip"
	"strings"
)

// A choice is how a user names interfaces: by name, by an address that one has, or by the network of such an address.
type choice struct {
	name   string
	prefix netip.Prefix // valid for an address, which is a network of one, or a network
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

// chosen is an interface that is up, and those of its addresses that were chosen.
type chosen struct {
	Interface
	named bool // false where there were no choices, and it is one of all
}

// choose returns the interfaces of list that are up and that choices name, or all that are up where there are no
// choices. An interface that is chosen by address has no other ones.
func choose(list []Interface, choices []choice) []chosen {
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
		var addresses []InterfaceAddress
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

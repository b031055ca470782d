package config

import (
	"net/netip"
	"strings"
)

// datagrams checks an endpoint for datagrams. It sets the direction of a listener without flows to receive, because such a listener
// can't answer.
func (v *validator) datagrams(e *Endpoint, key string) {
	v.interfaces(e.UDP.Interfaces, key+".udp.interfaces")
	a, listens := e.Address(), e.Listen != nil
	host, err := netip.ParseAddr(a.Host)
	literal := err == nil
	at := key + "." + map[bool]string{true: "listen", false: "dial"}[listens]
	switch {
	case !listens && literal && host.IsUnspecified():
		v.addError(v.at(at), quote(a.String()), "a host to send to; all on this network are udp://255.255.255.255")
	case literal && host.IsMulticast() && host.Zone() != "" && len(e.UDP.Interfaces) > 0:
		v.addError(v.at(key+".udp.interfaces"), "interfaces, and a zone in "+quote(a.String()), "one of them")
	}
	switch {
	case len(e.UDP.Groups) == 0:
	case !listens:
		v.addError(v.at(key+".udp.groups"), "groups", "them only where framehost listens; to send to a group, dial it")
	default:
		v.groups(e, host, literal, key+".udp.groups")
	}
	if at := key + ".udp.ttl"; v.has(at) {
		switch {
		case listens:
			v.addError(v.at(at), "ttl", "it only where framehost dials")
		case a.Host == everyone || literal && !host.IsMulticast():
			v.addError(v.at(at), "ttl", "it only with a multicast group, such as udp://239.1.2.3:5000")
		}
	}
	switch {
	case !listens && e.Direction == Receive:
		v.addError(v.at(key+".direction"), quote(string(Receive)), "both or send: a UDP dialer that never sends gets no answers")
	case listens && e.UDP.Flows == nil && !v.has(key+".udp.flows"):
		if e.Direction == Send {
			v.addError(v.at(key+".direction"), quote(string(Send)), "receive: a UDP listener without flows has no peer to send to")
		}
		e.Direction = Receive
	}
	if at := key + ".queue.policy"; e.Queue.Policy == Disconnect && v.has(at) {
		v.addError(v.at(at), quote(string(Disconnect)), "another policy: datagrams have no connection to end")
	}
}

// everyone, as the host of a UDP address, means all addresses of this machine in listen, and 255.255.255.255 in dial.
const everyone = "*"

func (v *validator) groups(e *Endpoint, host netip.Addr, literal bool, key string) {
	if !literal && e.Listen.Host != "" && e.Listen.Host != everyone || literal && !host.IsUnspecified() {
		v.addError(v.at(key), "groups with "+quote(e.Listen.String()), "a listener on all addresses, such as udp://:10110")
		return
	}
	for i, g := range e.UDP.Groups {
		at, first := v.at(itemKey(key, i)), e.UDP.Groups[0]
		switch {
		case !g.IsValid(): // reported already
		case g.Is4In6():
			v.addError(at, quote(g.String()), "an IPv4 address written as one")
		case g.Zone() != "":
			v.addError(at, quote(g.String()), "a group without zone; interfaces says where to join")
		case !g.IsMulticast():
			v.addError(at, quote(g.String()), "a multicast group: 224.0.0.0 to 239.255.255.255, or one that begins with ff")
		case literal && g.Is4() != host.Is4():
			v.addError(at, quote(g.String()), "a group of the family listened at, "+e.Listen.Host)
		case first.IsMulticast() && g.Is4() != first.Is4():
			v.addError(at, quote(g.String()), "groups of one family, as "+first.String()+" before it")
		}
	}
}

// interfaces checks that texts can name interfaces. It does not check that these exist, because interfaces appear and disappear.
func (v *validator) interfaces(texts []string, key string) {
	for i, text := range texts {
		if text == "" {
			continue // reported already
		}
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		at := itemKey(key, i)
		if p, err := netip.ParsePrefix(text); err == nil {
			if p != p.Masked() {
				v.addError(v.at(at), quote(text), p.Masked().String()+", with no bits after the prefix")
			}
		} else if strings.ContainsAny(text, "/: \t\r\n\x00") {
			v.addError(v.at(at), quote(text), "the name of an interface, an address, or a network such as 192.168.1.0/24")
		}
	}
}

package dnssd

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

// ttl is the time to live of records in seconds, the same as in answers of hashicorp/mdns.
const ttl = 120

// An entry is an announced service and its records.
type entry struct {
	service *Service
	label   string
	records *mdns.MDNSService // nil while the service has no address
}

// A zone holds the announced services and implements mdns.Zone. The zero value is ready to use. A zone is safe for
// concurrent use.
type zone struct {
	mu       sync.Mutex
	entries  []*entry
	second   time.Time // when the current second of MaxAnswers began
	answered int       // questions in the current second
}

// add adds e, with its records for interfaces.
func (z *zone) add(e *entry, interfaces []used) {
	z.mu.Lock()
	defer z.mu.Unlock()
	e.setInterfaces(interfaces)
	z.entries = append(z.entries, e)
}

// setInterfaces makes the records of all entries for other interfaces.
func (z *zone) setInterfaces(interfaces []used) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, e := range z.entries {
		e.setInterfaces(interfaces)
	}
}

// remove removes e and returns the records for its goodbye: none if another entry has the same name, as after a reload.
func (z *zone) remove(e *entry) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.entries = slices.DeleteFunc(z.entries, func(o *entry) bool { return o == e })
	if slices.ContainsFunc(z.entries, e.isSame) {
		return nil
	}
	return e.about()
}

// empty reports whether no service is announced.
func (z *zone) empty() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.entries) == 0
}

// about returns all records of e; none if e is replaced.
func (z *zone) about(e *entry) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.isReplaced(e) {
		return nil
	}
	return e.about()
}

// isReplaced reports whether a later entry announces the same instance at the same address, as after a reload, until e is removed.
// Two records that contradict each other, such as two TXT records, would otherwise be announced. The caller holds z.mu.
func (z *zone) isReplaced(e *entry) bool {
	later := z.entries[slices.Index(z.entries, e)+1:]
	return slices.ContainsFunc(later, func(o *entry) bool { return o.isSame(e) && o.service.Address == e.service.Address })
}

// Records implements mdns.Zone: it returns the answers to one question of a query.
func (z *zone) Records(q dns.Question) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	var all []dns.RR
	for _, e := range z.entries {
		if !z.isReplaced(e) {
			all = append(all, e.answer(q)...)
		}
	}
	if len(all) == 0 || !z.allow(time.Now()) {
		return nil
	}
	return dns.Dedup(all, nil) // several services of one type all return the record that lists the type
}

// allow reports whether another question may be answered, and counts it.
func (z *zone) allow(now time.Time) bool {
	if now.Sub(z.second) >= time.Second {
		z.second, z.answered = now, 0
	}
	z.answered++
	return z.answered <= MaxAnswers
}

// isSame reports whether e and o announce the same instance.
func (e *entry) isSame(o *entry) bool { return e.label == o.label && e.service.Type == o.service.Type }

// setInterfaces makes the records of e for interfaces.
func (e *entry) setInterfaces(interfaces []used) {
	s := e.service
	e.records = nil
	addresses := s.addresses(interfaces)
	if len(addresses) == 0 {
		return // without addresses, hashicorp/mdns would ask the DNS
	}
	var texts []string
	for _, text := range s.txt() {
		texts = append(texts, strings.ReplaceAll(text, `\`, `\\`)) // the library expects the escapes of a zone file
	}
	// NewMDNSService fails only for services that Check refuses.
	e.records, _ = mdns.NewMDNSService(e.label, s.Type, domain, e.label+"."+domain, int(s.Port), addresses, texts)
}

// maxAddresses is the maximum number of addresses of a service, the same as in package discovery.
const maxAddresses = 8

// addresses returns the addresses at which s is reached on interfaces, at most maxAddresses.
func (s *Service) addresses(interfaces []used) (all []net.IP) {
	var own []netip.Addr
	for i := range interfaces {
		own = append(own, interfaces[i].addresses...)
	}
	if a := s.Address; a.IsValid() && len(own) > 0 && (!a.IsLoopback() || slices.Contains(own, a)) {
		return []net.IP{a.AsSlice()}
	}
	for i, a := range own {
		if !s.Address.IsValid() && (a.Is4() || !s.IPv4Only) && !slices.Contains(own[:i], a) && len(all) < maxAddresses {
			all = append(all, a.AsSlice())
		}
	}
	return all
}

// answer returns the records that answer q, if q is about e. The library compares names byte by byte, but DNS names are
// case-insensitive.
func (e *entry) answer(q dns.Question) []dns.RR {
	if e.records == nil {
		return nil
	}
	s := e.service
	for _, name := range []string{"_services._dns-sd._udp." + domain, s.typeName(), s.instance(e.label), e.label + "." + domain} {
		if strings.EqualFold(q.Name, name) {
			q.Name = name
			return e.records.Records(q)
		}
	}
	return nil
}

// about returns all records of e.
func (e *entry) about() []dns.RR {
	return e.answer(dns.Question{Name: e.service.typeName(), Qtype: dns.TypePTR, Qclass: dns.ClassINET})
}

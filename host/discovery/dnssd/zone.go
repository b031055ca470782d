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

// ttl is how many seconds records are remembered, in what is said here as in hashicorp/mdns.
const ttl = 120

// An entry is a service with what there is to say of it.
type entry struct {
	service *Service
	label   string
	records *mdns.MDNSService // nil while it has no address
}

// A zone is all that is announced, as hashicorp/mdns asks for it. The zero value is ready; it is safe for concurrent use.
type zone struct {
	mu       sync.Mutex
	entries  []*entry
	second   time.Time // when the present second began
	answered int       // in it
}

// add announces e on interfaces.
func (z *zone) add(e *entry, interfaces []used) {
	z.mu.Lock()
	defer z.mu.Unlock()
	e.move(interfaces)
	z.entries = append(z.entries, e)
}

// move announces all entries on other interfaces.
func (z *zone) move(interfaces []used) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, e := range z.entries {
		e.move(interfaces)
	}
}

// remove ends that e is announced, and returns what is gone with it: nothing if another entry has its name by now, as after
// a reload.
func (z *zone) remove(e *entry) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.entries = slices.DeleteFunc(z.entries, func(o *entry) bool { return o == e })
	if slices.ContainsFunc(z.entries, func(o *entry) bool { return o.label == e.label && o.service.Type == e.service.Type }) {
		return nil
	}
	return e.about()
}

// about returns what there is to say of e.
func (z *zone) about(e *entry) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	return e.about()
}

// Records implements mdns.Zone: it answers one question of a query.
func (z *zone) Records(q dns.Question) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	var all []dns.RR
	for _, e := range z.entries {
		all = append(all, e.answer(q)...)
	}
	if len(all) == 0 || !z.allow(time.Now()) {
		return nil
	}
	return dns.Dedup(all, nil) // of several services of one type, each says that the type is there
}

// allow reports whether another question may be answered, and counts it.
func (z *zone) allow(now time.Time) bool {
	if now.Sub(z.second) >= time.Second {
		z.second, z.answered = now, 0
	}
	z.answered++
	return z.answered <= MaxAnswers
}

// move makes the records that e has on interfaces.
func (e *entry) move(interfaces []used) {
	s := e.service
	e.records = nil
	addresses := s.addresses(interfaces)
	if len(addresses) == 0 {
		return // for which hashicorp/mdns would ask the DNS
	}
	var texts []string
	for _, text := range s.txt() {
		texts = append(texts, strings.ReplaceAll(text, `\`, `\\`)) // as text in a zone file is written
	}
	// It fails only for what Check refuses.
	e.records, _ = mdns.NewMDNSService(e.label, s.Type, domain, e.label+"."+domain, int(s.Port), addresses, texts)
}

// maxAddresses is how many addresses of a service are announced, as in a packet of package discovery.
const maxAddresses = 8

// addresses returns where s is reached on interfaces.
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

// answer answers a question about e. The library compares names byte by byte, DNS without case.
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

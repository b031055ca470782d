package dnssd

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// machine returns the interfaces of a machine: loopback, two networks, an interface that is down, and a tunnel that can't
// multicast.
func machine() []Interface {
	return []Interface{
		{Name: "lo", Index: 1, Up: true, Loopback: true, Addresses: prefixes("127.0.0.1/8", "::1/128")},
		{Name: "eth0", Index: 2, Up: true, Multicast: true, Addresses: prefixes("192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64", "fe80::7/64")},
		{Name: "eth1", Index: 3, Up: true, Multicast: true, Addresses: prefixes("198.51.100.7/24")},
		{Name: "eth2", Index: 4, Multicast: true, Addresses: prefixes("203.0.113.7/24")},
		{Name: "tun0", Index: 5, Up: true, Addresses: prefixes("10.9.0.1/32")},
		{Name: "eth3", Index: 6, Up: true, Multicast: true, Addresses: prefixes("fe80::9/64")},
	}
}

func TestWhichAddressesAreAnnounced(t *testing.T) {
	tests := []struct {
		name, interfaces string
		service          Service
		want             string
	}{
		{"all that can multicast", "", Service{}, "192.0.2.7 192.0.2.8 2001:db8::7 198.51.100.7"},
		{"IPv4 alone", "", Service{IPv4Only: true}, "192.0.2.7 192.0.2.8 198.51.100.7"},
		{"one interface", "eth1", Service{}, "198.51.100.7"},
		{"one address", "192.0.2.8", Service{}, "192.0.2.8"},
		{"a network, and an interface in it", "192.0.0.0/8 eth0", Service{}, "192.0.2.7 192.0.2.8 2001:db8::7"},
		{"loopback, where it is asked for", "lo", Service{}, "127.0.0.1 ::1"},
		{"one that can't multicast, where it is asked for", "tun0", Service{}, "10.9.0.1"},
		{"one that is down", "eth2", Service{}, ""},
		{"one with nothing but an address of its link", "eth3", Service{}, ""},
		{"where it listens", "", Service{Address: netip.MustParseAddr("192.0.2.8")}, "192.0.2.8"},
		{"where it listens, which is elsewhere", "eth1", Service{Address: netip.MustParseAddr("192.0.2.8")}, "192.0.2.8"},
		{"where it listens, and nowhere to say so", "eth2", Service{Address: netip.MustParseAddr("192.0.2.8")}, ""},
		{"loopback, which only this machine reaches", "", Service{Address: netip.MustParseAddr("127.0.0.1")}, ""},
		{"loopback, to those there", "lo", Service{Address: netip.MustParseAddr("127.0.0.1")}, "127.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, a := range test.service.addresses(choose(machine(), strings.Fields(test.interfaces))) {
				got = append(got, a.String())
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestManyAddresses(t *testing.T) {
	var all []used
	for i := range 20 {
		all = append(all, used{addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), netip.MustParseAddr("192.0.2.0")}})
	}
	if got := new(Service).addresses(all); len(got) != maxAddresses || !got[1].Equal(net.IPv4(192, 0, 2, 1)) {
		t.Errorf("got %v, want the first %d, each once", got, maxAddresses)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("n", 63)
	for _, test := range []struct{ service, host, want string }{
		{"nmea", "boat", "nmea-boat-7001"},
		{"nmea", "boat.example.net", "nmea-boat-7001"},
		{"the_scales.v2", "Böat", "the-scales-v2-B-at-7001"},
		{"nmea", "...", "nmea-framehost-7001"},
	} {
		s := Service{Type: "_x._tcp", Name: test.service, Port: 7001}
		r := NewResponder(Options{Host: test.host})
		if got, want := r.Instance(&s), test.want+"._x._tcp.local."; got != want {
			t.Errorf("%s on %s: got %s, want %s", test.service, test.host, got, want)
		}
	}
	one, other := Service{Name: long, Port: 1}, Service{Name: long, Port: 2}
	if a, b := one.label("boat"), other.label("boat"); len(a) != maxLabel || len(b) != maxLabel || a == b {
		t.Errorf("got %s and %s, want two labels of %d bytes", a, b, maxLabel)
	}
}

func TestCheck(t *testing.T) {
	good := Service{Type: "_nmea-0183._tcp", Name: "nmea", Port: 1, Labels: map[string]string{"empty": "", "v": strings.Repeat("v", 253)}}
	if err := good.Check(); err != nil {
		t.Errorf("got %v", err)
	}
	for want, change := range map[string]func(*Service){
		"type: got \"nmea\"":        func(s *Service) { s.Type = "nmea" },
		"type: got \"_nmea._sctp\"": func(s *Service) { s.Type = "_nmea._sctp" },
		"name: got nothing":         func(s *Service) { s.Name = "" },
		"port: got 0":               func(s *Service) { s.Port = 0 },
		"labels: got \"=v\"":        func(s *Service) { s.Labels = map[string]string{"": "v"} },
		"at most 255 bytes":         func(s *Service) { s.Labels = map[string]string{"v": strings.Repeat("v", 254)} },
	} {
		bad := good
		change(&bad)
		if err := NewResponder(Options{}).Announce(t.Context(), &bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// texts returns records in the format of a zone file, with single spaces.
func texts(records []dns.RR) (all []string) {
	for _, one := range records {
		all = append(all, strings.Join(strings.Fields(one.String()), " "))
	}
	return all
}

func TestAnswers(t *testing.T) {
	var z zone
	on := choose(machine(), []string{"eth0"})
	scales := &entry{service: &Service{Type: "_scales._tcp", Name: "scales", Port: 7001, Codec: "long", Labels: map[string]string{"hall": `3\4 "Zoë"`}}}
	clock := &entry{service: &Service{Type: "_scales._tcp", Name: "clock", Port: 7002, IPv4Only: true}}
	for _, e := range []*entry{scales, clock} {
		e.label = e.service.label("boat")
		z.add(e, on)
	}
	tests := []struct {
		name     string
		question string
		kind     uint16
		want     []string
	}{
		{"types, each once", "_services._dns-sd._udp.local.", dns.TypePTR, []string{"_services._dns-sd._udp.local. 120 IN PTR _scales._tcp.local."}},
		{"instances", "_scales._tcp.local.", dns.TypePTR, []string{
			"_scales._tcp.local. 120 IN PTR scales-boat-7001._scales._tcp.local.",
			"scales-boat-7001._scales._tcp.local. 120 IN SRV 10 1 7001 scales-boat-7001.local.",
			"scales-boat-7001.local. 120 IN A 192.0.2.7",
			"scales-boat-7001.local. 120 IN A 192.0.2.8",
			"scales-boat-7001.local. 120 IN AAAA 2001:db8::7",
			`scales-boat-7001._scales._tcp.local. 120 IN TXT "codec=long" "hall=3\\4 \"Zo\195\171\""`,
			"_scales._tcp.local. 120 IN PTR clock-boat-7002._scales._tcp.local.",
			"clock-boat-7002._scales._tcp.local. 120 IN SRV 10 1 7002 clock-boat-7002.local.",
			"clock-boat-7002.local. 120 IN A 192.0.2.7",
			"clock-boat-7002.local. 120 IN A 192.0.2.8",
			`clock-boat-7002._scales._tcp.local. 120 IN TXT ""`,
		}},
		{"in capitals", "CLOCK-Boat-7002.LOCAL.", dns.TypeA, []string{
			"clock-boat-7002.local. 120 IN A 192.0.2.7", "clock-boat-7002.local. 120 IN A 192.0.2.8"}},
		{"another type", "_clocks._tcp.local.", dns.TypePTR, nil},
		{"the machine's own name", "boat.local.", dns.TypeA, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := texts(z.Records(dns.Question{Name: test.question, Qtype: test.kind, Qclass: dns.ClassINET}))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
	z.setInterfaces(nil)
	if got := z.Records(dns.Question{Name: "_scales._tcp.local.", Qtype: dns.TypePTR}); got != nil {
		t.Errorf("got %v without an interface", got)
	}
	z.setInterfaces(on)
	again := &entry{service: scales.service, label: scales.label}
	z.add(again, on)
	if gone := z.remove(scales); gone != nil {
		t.Errorf("got %v, want no goodbye for what another has taken over", gone)
	}
	if gone := z.remove(again); len(gone) != 6 {
		t.Errorf("got %v, want a goodbye for six records", gone)
	}
	z.remove(clock)
	if got := z.Records(dns.Question{Name: "_scales._tcp.local.", Qtype: dns.TypePTR}); got != nil {
		t.Errorf("got %v of services that ended", got)
	}
}

// Answers are limited over all sources, since the source of a query may be forged.
func TestAnswersAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z zone
		e := &entry{service: &Service{Type: "_scales._tcp", Name: "scales", Port: 7001}, label: "scales"}
		z.add(e, choose(machine(), nil))
		for range 3 {
			answers := 0
			for range 10 * MaxAnswers {
				if z.Records(dns.Question{Name: "_clocks._tcp.local.", Qtype: dns.TypePTR}) != nil {
					t.Fatal("got an answer about another type")
				}
				if z.Records(dns.Question{Name: "_scales._tcp.local.", Qtype: dns.TypePTR}) != nil {
					answers++
				}
			}
			if answers != MaxAnswers {
				t.Errorf("got %d answers, want %d", answers, MaxAnswers)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestAnnouncement(t *testing.T) {
	e := &entry{service: &Service{Type: "_scales._tcp", Name: "scales", Port: 7001, Codec: "long"}, label: "scales"}
	e.setInterfaces(choose(machine(), []string{"eth1"}))
	for _, life := range []uint32{ttl, 0} {
		packet, err := announcement(e.about(), life)
		if err != nil {
			t.Fatal(err)
		}
		var got dns.Msg
		if err := got.Unpack(packet); err != nil {
			t.Fatal(err)
		}
		if !got.Response || !got.Authoritative || got.Id != 0 || len(got.Question) > 0 || len(got.Answer) != 4 {
			t.Errorf("got %v, want an unasked answer of four records", &got)
		}
		for _, one := range got.Answer {
			h := one.Header()
			if flushes := h.Class&flush != 0; h.Ttl != life || flushes == (h.Rrtype == dns.TypePTR) {
				t.Errorf("got %v, want the time to live %d, and that it replaces others unless it is a PTR", one, life)
			}
		}
	}
	for _, one := range e.about() {
		if h := one.Header(); h.Ttl != ttl || h.Class != dns.ClassINET {
			t.Errorf("got %v, want what the zone says unchanged", one)
		}
	}
}

// The longest announcement that package config allows fits in one datagram.
func TestLongestAnnouncement(t *testing.T) {
	s := &Service{Type: "_fifteen-letters._udp", Name: strings.Repeat("n", 63), Port: 65535, Codec: strings.Repeat("c", 63), Labels: map[string]string{}}
	for left := 916 - 63 - 63; left > 0; left -= 256 {
		name := string(rune('a' + left/256))
		s.Labels[name] = strings.Repeat("v", min(left-3, 253))
	}
	on := []used{{}}
	for i := range 20 {
		on[0].addresses = append(on[0].addresses, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}))
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	e := &entry{service: s, label: s.label("boat")}
	e.setInterfaces(on)
	packet, err := announcement(e.about(), ttl)
	if err != nil || len(packet) > 1452 {
		t.Errorf("got %d bytes and %v, want no more than fit in one Ethernet frame", len(packet), err)
	}
}

func TestIgnoredReasonIsOneLine(t *testing.T) {
	var reasons []string
	log := logger(func(why string) { reasons = append(reasons, why) })
	log.Printf("[ERR] mdns: Failed to unpack packet: %v", "dns: overflow\n\nof it")
	log.Print(strings.Repeat("x", 5000))
	if want := []string{"Failed to unpack packet: dns: overflow of it", strings.Repeat("x", maxReason)}; !slices.Equal(reasons, want) {
		t.Errorf("got %q, want %q", reasons, want)
	}
}

// Without an interface to listen on, Failed is called once, and Announce still ends.
func TestNoInterface(t *testing.T) {
	failures := make(chan error, 2)
	r := NewResponder(Options{Failed: func(err error) { failures <- err }})
	ctx, cancel := context.WithCancel(t.Context())
	announced, ran := make(chan error), make(chan struct{})
	go func() { announced <- r.Announce(ctx, &Service{Type: "_scales._tcp", Name: "scales", Port: 7001}) }()
	go func() { defer close(ran); r.Run(ctx) }()
	r.SetInterfaces(nil)
	if err := <-failures; err != ErrNoInterface {
		t.Errorf("got %v, want %v", err, ErrNoInterface)
	}
	cancel()
	if err := <-announced; err != nil {
		t.Errorf("got %v", err)
	}
	<-ran
	if len(failures) > 0 {
		t.Errorf("got %v as well", <-failures)
	}
}

// After a reload, two entries announce one instance for a moment. The later one alone is announced, unless the two have different
// addresses.
func TestLaterEntryReplaces(t *testing.T) {
	var z zone
	add := func(site, address string) *entry {
		s := &Service{Type: "_scales._tcp", Name: "scales", Port: 7001, Labels: map[string]string{"site": site}}
		if address != "" {
			s.Address = netip.MustParseAddr(address)
		}
		e := &entry{service: s, label: "scales"}
		z.add(e, choose(machine(), nil))
		return e
	}
	sites := func(records []dns.RR) (all []string) {
		for _, one := range records {
			if txt, ok := one.(*dns.TXT); ok {
				all = append(all, txt.Txt...)
			}
		}
		return all
	}
	answered := func() []string {
		return sites(z.Records(dns.Question{Name: "_scales._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET}))
	}
	south, north := add("south", ""), add("north", "")
	if got := answered(); !slices.Equal(got, []string{"site=north"}) {
		t.Errorf("got an answer with %q, want that of the later entry", got)
	}
	if got := z.about(south); got != nil {
		t.Errorf("got %v to announce of an entry that is replaced", got)
	}
	if got := z.remove(south); got != nil {
		t.Errorf("got the goodbye %v of an instance that goes on", got)
	}
	if got := sites(z.about(north)); !slices.Equal(got, []string{"site=north"}) {
		t.Errorf("got %q to announce of the later entry", got)
	}
	add("west", "10.0.0.1")
	if got := answered(); !slices.Equal(got, []string{"site=north", "site=west"}) {
		t.Errorf("got an answer with %q, want that of both addresses", got)
	}
}

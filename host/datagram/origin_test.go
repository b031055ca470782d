package datagram

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/host/netif"
)

func interfaceWith(addresses ...string) []netif.Interface {
	i := netif.Interface{Name: "eth0", Index: 2, Up: true, Broadcast: true, Multicast: true}
	for _, a := range addresses {
		p := netip.MustParsePrefix(a)
		i.Addresses = append(i.Addresses, netif.Address{Prefix: p, Broadcast: netif.DirectedBroadcast(p)})
	}
	return []netif.Interface{i}
}

func TestOriginsKnowAPortAndTheAddresses(t *testing.T) {
	var o Origins
	o.note(interfaceWith("10.0.0.5/24", "fe80::5/64"))
	closed := o.open(4000, true)
	defer closed()
	tests := []struct {
		from string
		own  bool
	}{
		{"10.0.0.5:4000", true},
		{"10.0.0.5:4001", false},
		{"10.0.0.6:4000", false},
		{"[fe80::5]:4000", false}, // each family has its own ports
	}
	for _, tt := range tests {
		d := []Datagram{{Remote: netip.MustParseAddrPort(tt.from)}}
		if o.mark(d); d[0].Own != tt.own {
			t.Errorf("from %s: got own %v, want %v", tt.from, d[0].Own, tt.own)
		}
	}
	defer o.open(4000, false)()
	d := []Datagram{{Remote: netip.MustParseAddrPort("[fe80::5%eth0]:4000")}}
	if o.mark(d) != 1 {
		t.Error("an address with a zone is not known")
	}
}

func TestOriginsAreKnownForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o Origins
		d := []Datagram{{Remote: netip.MustParseAddrPort("10.0.0.5:4000")}}
		expect := func(own bool, when string) {
			t.Helper()
			if o.mark(d); d[0].Own != own {
				t.Errorf("%s: got own %v, want %v", when, d[0].Own, own)
			}
		}
		o.note(interfaceWith("10.0.0.5/24"))
		closed, again := o.open(4000, true), o.open(4000, true)
		closed()
		<-time.After(time.Hour)
		expect(true, "while one socket is open")
		again()
		<-time.After(originLinger - 1)
		expect(true, "just before it is forgotten")
		<-time.After(2)
		expect(false, "after it is forgotten")

		defer o.open(4000, true)()
		expect(true, "opened again")
		o.note(nil)
		<-time.After(originLinger - 1)
		expect(true, "just after the address was lost")
		<-time.After(2)
		expect(false, "long after the address was lost")
		o.note(interfaceWith("10.0.0.5/24"))
		expect(true, "with the address back")

		o.note(nil)
		<-time.After(2 * originLinger)
		o.note(nil)
		defer o.open(5000, true)()
		if len(o.addresses) != 0 || len(o.ports) != 2 {
			t.Errorf("got %d addresses and %d ports, want 0 and 2", len(o.addresses), len(o.ports))
		}
		forgotten := o.open(6000, true)
		forgotten()
		<-time.After(2 * originLinger)
		defer o.open(5000, true)()
		if len(o.ports) != 2 {
			t.Errorf("got %d ports, want 2: one is forgotten", len(o.ports))
		}
	})
}

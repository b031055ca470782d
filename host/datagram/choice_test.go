package datagram

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/framehost/framehost/host/netif"
)

// machine returns the interfaces of a machine: loopback, two Ethernet interfaces, a tunnel without broadcast, and an
// Ethernet interface that is down.
func machine() []netif.Interface {
	address := func(p string) netif.Address {
		prefix := netip.MustParsePrefix(p)
		return netif.Address{Prefix: prefix, Broadcast: netif.DirectedBroadcast(prefix)}
	}
	addresses := func(texts ...string) (a []netif.Address) {
		for _, text := range texts {
			a = append(a, address(text))
		}
		return a
	}
	return []netif.Interface{
		{Name: "lo", Index: 1, Up: true, Loopback: true, Addresses: addresses("127.0.0.1/8", "::1/128")},
		{Name: "eth0", Index: 2, Up: true, Broadcast: true, Multicast: true, Addresses: addresses("10.0.0.1/24", "10.0.0.2/24", "fe80::1/64")},
		{Name: "eth1", Index: 3, Up: true, Broadcast: true, Multicast: true, Addresses: addresses("10.1.0.1/16", "192.168.7.1/24")},
		{Name: "tun0", Index: 4, Up: true, Multicast: true, Addresses: addresses("10.9.0.1/32")},
		{Name: "eth2", Index: 5, Broadcast: true, Multicast: true, Addresses: addresses("10.2.0.1/24")},
	}
}

func TestWhereCopiesGo(t *testing.T) {
	tests := []struct {
		name, to, interfaces string
		want                 []string
	}{
		{"broadcast, all", "255.255.255.255:9", "", []string{
			"sends to 10.0.0.255:9 from 10.0.0.1 on eth0", // one copy for both addresses
			"sends to 10.1.255.255:9 from 10.1.0.1 on eth1",
			"sends to 192.168.7.255:9 from 192.168.7.1 on eth1"}},
		{"broadcast, by name", "255.255.255.255:9", "eth0 lo", []string{
			"sends to 127.255.255.255:9 from 127.0.0.1 on lo", "sends to 10.0.0.255:9 from 10.0.0.1 on eth0"}},
		{"broadcast, by address", "255.255.255.255:9", "192.168.7.1 10.0.0.2", []string{
			"sends to 10.0.0.255:9 from 10.0.0.2 on eth0", "sends to 192.168.7.255:9 from 192.168.7.1 on eth1"}},
		{"broadcast, by network", "255.255.255.255:9", "10.0.0.0/8", []string{
			"sends to 10.0.0.255:9 from 10.0.0.1 on eth0", "sends to 10.1.255.255:9 from 10.1.0.1 on eth1"}},
		{"broadcast, down", "255.255.255.255:9", "eth2 eth7", nil},
		{"broadcast, without broadcast", "255.255.255.255:9", "tun0", nil},
		{"multicast, all", "239.1.1.1:9", "", []string{"sends to 239.1.1.1:9 from 10.0.0.1 on eth0",
			"sends to 239.1.1.1:9 from 10.1.0.1 on eth1", "sends to 239.1.1.1:9 from 10.9.0.1 on tun0"}},
		{"multicast, by address", "239.1.1.1:9", "192.168.7.1", []string{"sends to 239.1.1.1:9 from 192.168.7.1 on eth1"}},
		{"multicast, loopback", "239.1.1.1:9", "lo", []string{"sends to 239.1.1.1:9 from 127.0.0.1 on lo"}},
		{"IPv6 multicast, all", "[ff02::5]:9", "", []string{"sends to [ff02::5]:9 on eth0"}},
		{"unicast", "10.1.7.7:9", "", []string{"sends to 10.1.7.7:9 on "}},
		{"unicast from a network", "10.1.7.7:9", "eth0 eth1", []string{"sends to 10.1.7.7:9 from 10.1.0.1 on eth1"}},
		{"unicast from elsewhere", "8.8.8.8:9", "eth1 eth0", []string{"sends to 8.8.8.8:9 from 10.0.0.1 on eth0"}},
		{"unicast from nowhere", "[2001:db8::1]:9", "eth1", nil},
		{"directed broadcast", "10.0.0.255:9", "", []string{"sends to 10.0.0.255:9 on "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			choices, err := parseChoices(strings.Fields(tt.interfaces))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range (destination{netip.MustParseAddrPort(tt.to)}).targets(machine(), choices) {
				got = append(got, target.use.String())
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestWhatIsReceivedOnInterfacesChosen(t *testing.T) {
	choices, err := parseChoices([]string{"eth0", "192.168.7.1"})
	if err != nil {
		t.Fatal(err)
	}
	view := newView(machine(), choices)
	for _, tt := range []struct {
		local string
		index int
		want  bool
		cast  Cast
	}{
		{"10.0.0.1", 2, true, Unicast},
		{"10.0.0.255", 2, true, Broadcast},
		{"255.255.255.255", 2, true, Broadcast},
		{"239.1.1.1", 2, true, Multicast},
		{"10.0.0.2", 1, true, Unicast}, // the machine sent it to itself
		{"192.168.7.255", 3, true, Broadcast},
		{"127.0.0.1", 1, false, Unicast},
		{"10.9.0.1", 4, false, Unicast},
	} {
		d := Datagram{Local: netip.MustParseAddr(tt.local), Interface: tt.index}
		if got := view.wants(&d); got != tt.want || view.cast(d.Local) != tt.cast {
			t.Errorf("to %s on %d: got %v, %s; want %v, %s", tt.local, tt.index, got, view.cast(d.Local), tt.want, tt.cast)
		}
	}
	if got := view.cast(netip.Addr{}); got != UnknownCast {
		t.Errorf("got %s for an unknown address, want unknown", got)
	}
}

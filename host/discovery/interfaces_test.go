package discovery

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestBroadcastAddress(t *testing.T) {
	tests := []struct{ address, want string }{ // want is empty if the address has no broadcast address
		{"192.0.2.17/24", "192.0.2.255"},
		{"10.1.2.3/8", "10.255.255.255"},
		{"10.1.2.3/30", "10.1.2.3"},
		{"10.1.2.3/22", "10.1.3.255"},
		{"127.0.0.1/8", "127.255.255.255"},
		{"10.1.2.3/31", ""}, {"10.1.2.3/32", ""},
		{"fe80::1/64", ""},
	}
	for _, test := range tests {
		ip, network, err := net.ParseCIDR(test.address)
		if err != nil {
			t.Fatal(err)
		}
		prefix, ok := prefixOf(&net.IPNet{IP: ip, Mask: network.Mask})
		got := ""
		if ok {
			got = broadcastOf(prefix).String()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.address, got, test.want)
		}
	}
}

func TestChoose(t *testing.T) {
	offerOf := func(name string, index int, prefix string, loopback bool) candidate {
		p := netip.MustParsePrefix(prefix)
		return candidate{link{name, index, p, broadcastOf(p)}, loopback}
	}
	lo := offerOf("lo", 1, "127.0.0.1/8", true)
	eth := offerOf("eth0", 2, "192.0.2.1/24", false)
	second := offerOf("eth0", 2, "10.0.0.1/8", false)
	wlan := offerOf("wlan0", 3, "198.51.100.1/24", false)
	all := []candidate{lo, eth, second, wlan}
	tests := []struct {
		name   string
		there  []candidate
		choice []string
		want   []candidate
	}{
		{"all but loopback", all, nil, []candidate{eth, second, wlan}},
		{"nothing but loopback", []candidate{lo}, nil, []candidate{lo}},
		{"by name, with each address", all, []string{"eth0"}, []candidate{eth, second}},
		{"by address, that network alone", all, []string{"10.0.0.1"}, []candidate{second}},
		{"by network", all, []string{"10.0.0.0/8"}, []candidate{second}},
		{"loopback if asked for", all, []string{"lo", "wlan0"}, []candidate{lo, wlan}},
		{"one that is not there", all, []string{"eth7"}, nil},
		{"loopback does not stand in for what was asked for", []candidate{lo}, []string{"eth0"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var want []link
			for _, o := range test.want {
				want = append(want, o.link)
			}
			if got := choose(test.there, test.choice); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}

	arrivals := []struct {
		name   string
		index  int
		source string
		want   string
	}{
		{"on its interface", 3, "198.51.100.7", "wlan0"},
		{"on the interface's second network", 2, "10.7.7.7", "eth0"},
		{"where the system does not report the interface", 0, "198.51.100.7", "wlan0"},
		{"on another interface", 2, "198.51.100.7", ""},
		{"from beyond a router", 2, "203.0.113.1", ""},
		{"on an interface that was not chosen", 1, "127.0.0.1", ""},
	}
	links := choose(all, nil)
	for _, a := range arrivals {
		t.Run(a.name, func(t *testing.T) {
			l, ok := arrival(links, a.index, netip.MustParseAddr(a.source))
			if l.name != a.want || ok != (a.want != "") {
				t.Errorf("got %q, want %q", l.name, a.want)
			}
		})
	}
}

func TestChangesOfInterfaces(t *testing.T) {
	linkOf := func(name string, index int, prefix string) link {
		p := netip.MustParsePrefix(prefix)
		return link{name, index, p, broadcastOf(p)}
	}
	u := &UDP{port: DefaultPort}
	var calls []string
	u.interfaces.changed = func(l link, gone bool) {
		if gone {
			calls = append(calls, "no more: "+u.use(l).String())
			return
		}
		calls = append(calls, u.use(l).String())
	}
	eth, wlan := linkOf("eth0", 2, "192.0.2.1/24"), linkOf("wlan0", 3, "198.51.100.1/24")
	for _, test := range []struct {
		name          string
		before, after []link
		want          []string
	}{
		{"nothing", []link{eth, wlan}, []link{wlan, eth}, nil},
		{"one comes", []link{eth}, []link{eth, wlan}, []string{"sends to 198.51.100.255:7331 from 198.51.100.1 on wlan0"}},
		{"one goes", []link{eth, wlan}, []link{wlan}, []string{"no more: sends to 192.0.2.255:7331 from 192.0.2.1 on eth0"}},
		{"another address", []link{eth}, []link{linkOf("eth0", 2, "192.0.2.9/24")}, []string{
			"no more: sends to 192.0.2.255:7331 from 192.0.2.1 on eth0", "sends to 192.0.2.255:7331 from 192.0.2.9 on eth0"}},
		{"another interface of that name", []link{eth}, []link{linkOf("eth0", 7, "192.0.2.1/24")}, []string{
			"no more: sends to 192.0.2.255:7331 from 192.0.2.1 on eth0", "sends to 192.0.2.255:7331 from 192.0.2.1 on eth0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls, u.interfaces.links = nil, test.after
			u.interfaces.reportChanges(test.before)
			if !slices.Equal(calls, test.want) {
				t.Errorf("got %q, want %q", calls, test.want)
			}
		})
	}
}

// Values in a log read the same in JSON.
func TestJSON(t *testing.T) {
	got, err := json.Marshal([]any{ID{0xa0, 15: 0xaf}, NetworkUDP,
		Use{"eth0", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.255:7331")}})
	want := `["a00000000000000000000000000000af","udp","sends to 192.0.2.255:7331 from 192.0.2.1 on eth0"]`
	if err != nil || string(got) != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

package endpoint

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(text string) (all []netip.Prefix) {
	for _, p := range strings.Fields(text) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func TestAllowAndDeny(t *testing.T) {
	tests := []struct{ name, allow, deny, ip, want string }{
		{"no lists", "", "", "10.0.0.1", ""},
		{"allowed", "192.0.2.0/24 10.0.0.0/8", "", "10.0.0.1", ""},
		{"not allowed", "10.0.0.0/8", "", "11.0.0.1", "not in the allow list"},
		{"denied", "", "10.0.0.0/8", "10.0.0.1", "denied by 10.0.0.0/8"},
		{"not denied", "", "10.0.0.0/8", "11.0.0.1", ""},
		{"deny wins", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.1", "denied by 10.1.0.0/16"},
		{"IPv6", "2001:db8::/32", "", "2001:db8::1", ""},
		{"IPv4 is not in an IPv6 range", "::/0", "", "10.0.0.1", "not in the allow list"},
		{"a range of mapped addresses", "", "::ffff:10.0.0.0/104", "10.0.0.1", "denied by ::ffff:10.0.0.0/104"},
		{"outside of mapped addresses", "", "::ffff:10.0.0.0/104", "11.0.0.1", ""},
	}
	for _, test := range tests {
		a := Admission{Allow: prefixes(test.allow), Deny: prefixes(test.deny)}
		if _, got := a.admit(netip.MustParseAddr(test.ip)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	a := Admission{Allow: prefixes("10.0.0.0/8"), Deny: prefixes("0.0.0.0/0")}
	if _, got := a.admit(netip.Addr{}); got != "" {
		t.Errorf("Unix socket: got %q, want it accepted", got)
	}
}

func TestLimits(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	all, route := NewConnections(4, 0), NewConnections(3, 2)
	a := Admission{Limit: []*Connections{all, route}}
	admit := func(ip netip.Addr, want string) func() {
		t.Helper()
		leave, got := a.admit(ip)
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return leave
	}
	leave := []func(){admit(one, ""), admit(one, "")}
	admit(one, "over max_connections_per_address (2)")
	leave = append(leave, admit(two, ""))
	admit(two, "over max_connections (3)")
	if all.Live() != 3 || route.Live() != 3 {
		t.Errorf("got %d and %d counted, want 3 in both: the refused count nowhere", all.Live(), route.Live())
	}
	route.SetLimits(0, 0)
	leave = append(leave, admit(netip.Addr{}, ""))
	admit(two, "over max_connections (4)")
	for _, leave := range leave {
		leave()
	}
	if all.Live() != 0 || route.Live() != 0 || len(all.byAddress) != 0 {
		t.Errorf("got %d, %d and %v, want nothing left", all.Live(), route.Live(), all.byAddress)
	}
}

package netif

import (
	"net/netip"
	"testing"
)

func TestDirectedBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{
		"192.168.1.5/24": "192.168.1.255",
		"10.1.2.3/8":     "10.255.255.255",
		"10.1.2.5/30":    "10.1.2.7",
		"172.16.20.1/20": "172.16.31.255",
		"10.1.2.5/31":    "invalid IP",
		"10.1.2.5/32":    "invalid IP",
		"1.2.3.4/0":      "255.255.255.255",
		"fe80::1/64":     "invalid IP",
	} {
		if got := DirectedBroadcast(netip.MustParsePrefix(prefix)).String(); got != want {
			t.Errorf("%s: got %s, want %s", prefix, got, want)
		}
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
)

func TestPrintDiscovery(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &control.Status{
		Discovery: &control.DiscoveryStatus{Port: 7331, Sent: 1, Received: 7, Forged: 2, OffLink: 3},
		Routes: []control.RouteStatus{
			{Name: "scales", Announced: []control.AnnouncedStatus{
				{Service: "scales", Network: "tcp", Port: 7001, Addresses: []string{"192.0.2.7", "198.51.100.7"}, Announced: 5, Queries: 2, Answers: 1},
			}},
			{Name: "erp", Services: []control.ServiceStatus{
				{Service: "erp", Network: "tcp", Addresses: []string{"192.0.2.8:9000"}, Codec: "mainframe", Interface: "eth0",
					Labels: map[string]string{"hall": "3"}, Signed: true, Expires: now.Add(12 * time.Second)},
				{Service: "erp", Network: "tcp", Addresses: []string{"192.0.2.9:9000"}, Interface: "eth0", Expires: now.Add(-time.Second)},
			}},
			{Name: "idle"},
		},
	}
	var got strings.Builder
	if err := printDiscovery(&got, s, now); err != nil {
		t.Fatal(err)
	}
	const want = `
discovery on port 7331: 1 packet sent, 7 received; 2 signed with another key, 3 from beyond the LAN

ANNOUNCED  ROUTE   PORT      ADDRESSES               PACKETS  QUERIES  ANSWERS
scales     scales  tcp 7001  192.0.2.7,198.51.100.7  5        2        1

KNOWN  ROUTE  ADDRESSES             CODEC      INTERFACE  LABELS  SIGNED  EXPIRES IN
erp    erp    tcp://192.0.2.8:9000  mainframe  eth0       hall=3  yes     12s
erp    erp    tcp://192.0.2.9:9000  -          eth0       -       no      0s
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	got.Reset()
	if err := printDiscovery(&got, &control.Status{}, now); err != nil || got.Len() > 0 {
		t.Errorf("got %q and %v without discovery, want nothing", got.String(), err)
	}
}

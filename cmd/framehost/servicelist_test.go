package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/discovery"
)

func TestServiceList(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scales := discovery.Found{
		Service: discovery.Service{
			Name: "scales", Network: discovery.NetworkTCP, Port: 7001, Codec: "mainframe",
			Labels: map[string]string{"hall": "3", "note": "the <old> one", "empty": ""},
		},
		ID:        discovery.ID{0xab},
		Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:7001"), netip.MustParseAddrPort("198.51.100.7:7001")},
		Origin:    discovery.Origin{Address: netip.MustParseAddrPort("192.0.2.7:7331"), Interface: "eth0"},
		Signed:    true,
	}
	clocks := discovery.Found{
		Service:   discovery.Service{Name: "clocks-of-the-north-wing", Network: discovery.NetworkUDP, Port: 123},
		Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.8:123")},
		Origin:    discovery.Origin{Address: netip.MustParseAddrPort("192.0.2.8:7331"), Interface: "eth0"},
	}
	changes := []discovery.Change{{Kind: discovery.Appeared, Found: scales}, {Kind: discovery.Left, Found: scales}, {Kind: discovery.Appeared, Found: clocks}}
	tests := []struct {
		name          string
		asJSON, watch bool
		want          string
	}{
		{"table", false, false, `
SERVICE           ADDRESS                       CODEC           INTERFACE  LABELS
scales            tcp://192.0.2.7:7001,198.51.100.7:7001  mainframe       eth0       empty="" hall=3 note="the <old> one"
clocks-of-the-north-wing  udp://192.0.2.8:123           -               eth0       -
`},
		{"changes", false, true, `
TIME      CHANGE    SERVICE           ADDRESS                       CODEC           INTERFACE  LABELS
03:04:05  appeared  scales            tcp://192.0.2.7:7001,198.51.100.7:7001  mainframe       eth0       empty="" hall=3 note="the <old> one"
03:04:05  left      scales            tcp://192.0.2.7:7001,198.51.100.7:7001  mainframe       eth0       empty="" hall=3 note="the <old> one"
03:04:05  appeared  clocks-of-the-north-wing  udp://192.0.2.8:123           -               eth0       -
`},
		{"JSON", true, false, `
{"change":"appeared","time":"2026-01-02T03:04:05Z","service":"scales","network":"tcp","addresses":["192.0.2.7:7001","198.51.100.7:7001"],"codec":"mainframe","labels":{"empty":"","hall":"3","note":"the <old> one"},"id":"ab000000000000000000000000000000","origin":"192.0.2.7:7331","interface":"eth0","signed":true}
{"change":"appeared","time":"2026-01-02T03:04:05Z","service":"clocks-of-the-north-wing","network":"udp","addresses":["192.0.2.8:123"],"codec":"","labels":{},"id":"00000000000000000000000000000000","origin":"192.0.2.8:7331","interface":"eth0","signed":false}
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			list := newServiceList(&got, tt.asJSON, tt.watch)
			for _, c := range changes {
				if err := list.change(c, now); err != nil {
					t.Fatal(err)
				}
			}
			if want := strings.TrimPrefix(tt.want, "\n"); got.String() != want {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/framehost/framehost/host/control"
)

func TestPrintDatagrams(t *testing.T) {
	routes := []control.RouteStatus{
		{Name: "paired"},
		{Name: "nmea", Hub: &control.HubStatus{
			Datagrams: []control.DatagramStatus{{Endpoint: "listen udp://[::]:10110", DroppedBySystem: 5, Truncated: 1}},
		}},
		{Name: "ask", Flows: &control.FlowsStatus{Datagrams: control.DatagramStatus{Endpoint: "listen udp://[::]:53", CopiesSent: 9}}},
	}
	var got strings.Builder
	if err := printDatagrams(&got, routes); err != nil {
		t.Fatal(err)
	}
	const want = `
DATAGRAMS                ROUTE  SENT  NOT SENT  DROPPED BY SYSTEM  CUT  ELSEWHERE  STRANGERS
listen udp://[::]:10110  nmea   0     0         5                  1    0          0
listen udp://[::]:53     ask    9     0         0                  0    0          0
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	got.Reset()
	if err := printDatagrams(&got, routes[:1]); err != nil || got.Len() > 0 {
		t.Errorf("got %q, %v for a route without datagrams", got.String(), err)
	}
}

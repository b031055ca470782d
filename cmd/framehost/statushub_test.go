package main

import (
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

func TestPrintHubs(t *testing.T) {
	routes := []control.RouteStatus{
		{Name: "paired"},
		{Name: "feed", Hub: &control.HubStatus{Live: []control.MemberStatus{
			{
				ID: 1, Endpoint: "listen udp://0.0.0.0:10110", Codec: "nmea", Age: time.Minute,
				MemberCounts: relay.MemberCounts{FlowStats: relay.FlowStats{FramesIn: 12}, Own: 2},
			},
			{
				ID: 2, Endpoint: "listen tcp://0.0.0.0:10110", Peer: "192.0.2.7:5000", Codec: "nmea", Age: time.Second,
				MemberCounts: relay.MemberCounts{FlowStats: relay.FlowStats{FramesOut: 1}, DroppedFrames: 5, Starved: 1}, QueuedFrames: 6,
			},
		}, Away: []control.MemberStatus{
			{
				Endpoint: "dial tcp://192.0.2.9:601", Codec: "counts",
				MemberCounts: relay.MemberCounts{DroppedFrames: 7}, QueuedFrames: 1024, QueuedBytes: 2048,
			},
		}}},
	}
	var got strings.Builder
	if err := printHubs(&got, routes); err != nil {
		t.Fatal(err)
	}
	const want = `
MEMBER  HUB   AGE   ENDPOINT                    PEER            CODEC   SENT       RECEIVED  QUEUED             DROPPED
1       feed  1m0s  listen udp://0.0.0.0:10110  -               nmea    12 frames  -         -                  2 our own
2       feed  1s    listen tcp://0.0.0.0:10110  192.0.2.7:5000  nmea    -          1 frame   6 frames           5 by its queue, 1 no memory
-       feed  -     dial tcp://192.0.2.9:601    not connected   counts  -          -         1024 frames, 2KiB  7 by its queue
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	got.Reset()
	if err := printHubs(&got, routes[:1]); err != nil || got.Len() > 0 {
		t.Errorf("got %q and %v without hubs, want nothing", got.String(), err)
	}
}

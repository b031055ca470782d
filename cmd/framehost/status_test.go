package main

import (
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &control.Status{
		Version: "v1.2.3", PID: 12, Started: now.Add(-90 * time.Second), Draining: true, Connections: 2,
		Memory: control.MemoryStatus{Used: 1536},
		Plugins: []control.PluginStatus{
			{
				Name: "cobs", Path: "/opt/cobs", Since: now.Add(-time.Second), DataPlane: "grpc", DataPlaneReason: "it has no other",
				Restarts: 3, LastError: "exit code 1\nand more",
			},
			{Name: "escape", Version: "1.0.0", Up: true, PID: 34, Spares: []int{35, 36}, Since: now.Add(-time.Hour), DataPlane: "grpc"},
		},
		Routes: []control.RouteStatus{
			{
				Name: "scales", From: "listen tcp://127.0.0.1:7001", To: "dial unix:///run/a.sock", Accepted: 12, Refused: 1,
				Closed:     map[string]int64{"reset": 1, "fin": 7, "drained": 1},
				ToUpstream: relay.FlowStats{FramesOut: 1, BytesWritten: 1 << 20, Violations: 3, DroppedTails: 1, BytesSkipped: 7, BytesWaiting: 3}, ToDownstream: relay.FlowStats{BytesWritten: 5},
				Sessions: []control.SessionStatus{{
					ID: 9, Downstream: "10.0.0.1:5", Upstream: "unix", DownstreamCodec: "line", UpstreamCodec: "none", Age: 61 * time.Second,
					ToUpstream: relay.FlowStats{FramesOut: 2, BytesWritten: 3 << 40, Unrepresentable: 1, BytesUnwritten: 5},
				}},
			},
			{Name: "idle", From: "dial tcp://a:1", To: "dial tcp://b:2", Closed: map[string]int64{}},
		},
	}
	var got strings.Builder
	if err := printStatus(&got, s, now); err != nil {
		t.Fatal(err)
	}
	const want = `framehost v1.2.3, process 12, up 1m30s, runs the embedded default configuration
2 connections, 1.5KiB of memory for buffers (no limit)
it is ending: no connections are accepted, and sessions go on until they end or rest

PLUGIN  VERSION  PROCESS           SINCE   DATA PLANE              RESTARTS  LAST ERROR
cobs    -        down              1s      grpc (it has no other)  3         exit code 1…
escape  1.0.0    34 (spare 35 36)  1h0m0s  grpc                    0         -

ROUTE   FROM                         TO                       SESSIONS  ACCEPTED  REFUSED  TO UPSTREAM                   TO DOWNSTREAM  DROPPED                           ENDED
scales  listen tcp://127.0.0.1:7001  dial unix:///run/a.sock  1         12        1        1 frame, 1MiB, 3B unfinished  5B             2 violations, 1 tail, 7B skipped  7 fin, 1 drained, 1 reset
idle    dial tcp://a:1               dial tcp://b:2           0         0         0        -                             -              -                                 -

SESSION  ROUTE   AGE   DOWNSTREAM  CODEC  UPSTREAM  CODEC  TO UPSTREAM                   TO DOWNSTREAM  DROPPED
9        scales  1m1s  10.0.0.1:5  line   unix      none   2 frames, 3TiB, 5B unwritten  -              1 unrepresentable

--json shows more: ` + onlyInJSON + `.
framehost violations shows the last violations.
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 1023 << 10: "1023KiB", 1 << 20: "1MiB", 5 << 50: "5120TiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: got %q, want %q", n, got, want)
		}
	}
}

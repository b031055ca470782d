package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// printHubs writes the members of hubs, and the dialled endpoints that are not connected.
func printHubs(w io.Writer, routes []control.RouteStatus) error {
	if !slices.ContainsFunc(routes, func(r control.RouteStatus) bool { return r.Hub != nil && len(r.Hub.Live)+len(r.Hub.Away) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "MEMBER", "HUB", "AGE", "ENDPOINT", "PEER", "CODEC", "SENT", "RECEIVED", "QUEUED", "DROPPED")
	for _, r := range routes {
		if r.Hub == nil {
			continue
		}
		for i := range r.Hub.Live {
			m := &r.Hub.Live[i]
			t.row(m.ID, r.Name, m.Age.Round(time.Second), m.Endpoint, m.Peer, m.Codec,
				brought(&m.FlowStats), received(&m.FlowStats),
				listed(framesText(int64(m.QueuedFrames)), sizeText(int64(m.QueuedBytes), "")), dropped(&m.MemberCounts))
		}
		for i := range r.Hub.Away {
			m := &r.Hub.Away[i]
			t.row("", r.Name, "", m.Endpoint, "not connected", m.Codec, "", "",
				listed(framesText(int64(m.QueuedFrames)), sizeText(int64(m.QueuedBytes), "")), dropped(&m.MemberCounts))
		}
	}
	return t.Flush()
}

// received describes what was written to a member of a hub, and what waits to be written.
func received(f *relay.FlowStats) string {
	return listed(framesText(f.FramesOut), sizeText(f.BytesWritten, ""), sizeText(f.BytesUnwritten, " unwritten"))
}

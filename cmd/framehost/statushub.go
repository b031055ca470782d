package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/framehost/framehost/host"
)

// printHubs writes who takes part in hubs now.
func printHubs(w io.Writer, routes []host.RouteStatus) error {
	if !slices.ContainsFunc(routes, func(r host.RouteStatus) bool { return r.Hub != nil && len(r.Hub.Live) > 0 }) {
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
				frames(m.FramesIn), frames(m.FramesOut), frames(int64(m.QueuedFrames)), dropped(m))
		}
	}
	return t.Flush()
}

func frames(n int64) string {
	if n == 0 {
		return ""
	}
	return count(int(n), "frame")
}

// dropped tells what did not get to a member, or from it, and why.
func dropped(m *host.MemberStatus) string {
	var all []string
	for _, one := range []struct {
		n    int64
		what string
	}{
		{m.DroppedFrames, "by its queue"}, {m.NotSent, "not sent"}, {m.Starved, "for want of memory"},
		{m.Own, "our own"}, {m.Suppressed, "came back"},
	} {
		if one.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", one.n, one.what))
		}
	}
	return strings.Join(all, ", ")
}

package host

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/relay"
)

// totals are what a host, or a route, has done.
type totals struct {
	accepted, refused int64
	closed            map[string]int64 // sessions, members of hubs, and connections that never were one, by reason
	all               relay.FlowStats  // of both directions, and of hubs
}

// add adds what routes of one name have done that have ended.
func (t *totals) add(l *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.routes) > 0 || l.added {
		return
	}
	l.added = true
	t.addStatus(&RouteStatus{Accepted: l.accepted, Refused: l.refused, Closed: l.closed,
		ToUpstream: l.done.ToUpstream, ToDownstream: l.done.ToDownstream})
}

// addStatus adds what a route has done.
func (t *totals) addStatus(s *RouteStatus) {
	t.accepted += s.Accepted
	t.refused += s.Refused
	if t.closed == nil {
		t.closed = map[string]int64{}
	}
	for reason, n := range s.Closed {
		t.closed[reason] += n
	}
	t.all.Add(&s.ToUpstream)
	t.all.Add(&s.ToDownstream)
	if s.Hub != nil {
		t.all.Add(&s.Hub.FlowStats)
	}
}

// totals returns what the host has done up to now.
func (h *Host) totals() (t totals) {
	h.mu.Lock()
	routes, retired := h.routes, h.retired
	t = h.past
	t.closed = maps.Clone(h.past.closed)
	h.mu.Unlock()
	for _, r := range routes {
		s := r.status()
		t.addStatus(&s)
	}
	for _, s := range removed(routes, retired) {
		t.addStatus(&s)
	}
	return t
}

// removed returns the status of routes that a reload took out, and whose sessions go on, without those whose name a
// route of the configuration has.
func removed(routes, retired []*route) (all []RouteStatus) {
	seen := map[*ledger]bool{}
	for _, r := range routes {
		seen[r.ledger] = true
	}
	for _, r := range slices.Backward(retired) {
		if !seen[r.ledger] {
			seen[r.ledger] = true
			s := r.status()
			s.Removed = true
			all = append(all, s)
		}
	}
	return all
}

// log is the last line of a host.
func (t *totals) log(log hclog.Logger, up time.Duration) {
	line := log.Info
	if t.all.FramesNotDelivered > 0 || t.all.BytesNotDelivered > 0 {
		line = log.Warn
	}
	line("stopped", "up", up.Round(time.Millisecond), "accepted", t.accepted, "refused", t.refused, "ended", Reasons(t.closed),
		"frames_in", t.all.FramesIn, "frames_out", t.all.FramesOut, "bytes_in", t.all.BytesRead, "bytes_out", t.all.BytesWritten,
		"frames_not_delivered", t.all.FramesNotDelivered, "bytes_not_delivered", t.all.BytesNotDelivered)
}

// cutSince returns an error if sessions that were cut since before have lost something, or were cut at once.
func (t *totals) cutSince(before *totals, atOnce bool) error {
	cut := t.closed[string(relay.DrainTimeout)] - before.closed[string(relay.DrainTimeout)]
	frames := t.all.FramesNotDelivered - before.all.FramesNotDelivered
	bytes := t.all.BytesNotDelivered - before.all.BytesNotDelivered
	if cut == 0 || frames == 0 && bytes == 0 && !atOnce {
		return nil
	}
	return fmt.Errorf("%w: %d cut, %d frames and %d bytes not delivered", ErrCut, cut, frames, bytes)
}

// Reasons lists how many sessions ended for which reason, the most frequent first.
func Reasons(closed map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(closed), func(a, b string) int {
		if closed[a] != closed[b] {
			return int(closed[b] - closed[a])
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", closed[name], name)
	}
	return strings.Join(names, ", ")
}

package host

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
	"github.com/framehost/framehost/host/route"
)

// totals are the summed counts of routes.
type totals struct {
	accepted, refused int64
	closed            map[string]int64 // by reason: sessions, members of hubs, and connections that became neither
	all               relay.FlowStats  // of both directions of sessions, and of hubs
}

// addFinal adds the counts of all routes with the name of r, once, if all of them have stopped.
func (t *totals) addFinal(r *route.Route) {
	if s, ok := r.FinalStatus(); ok {
		t.addStatus(&s)
	}
}

// addStatus adds the counts of a route.
func (t *totals) addStatus(s *control.RouteStatus) {
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

// totals returns the counts of the host up to now.
func (h *Host) totals() (t totals) {
	h.mu.Lock()
	routes, retired := h.routes, h.retired
	t = h.past
	t.closed = maps.Clone(h.past.closed)
	h.mu.Unlock()
	for _, r := range routes {
		s := r.Status()
		t.addStatus(&s)
	}
	for _, s := range removed(routes, retired) {
		t.addStatus(&s)
	}
	return t
}

// removed returns the status of the retired routes whose name no route in routes has: those that a reload removed and whose
// sessions go on. It returns one status for each name, that of the last such route.
func removed(routes, retired []*route.Route) (all []control.RouteStatus) {
	seen := map[string]bool{}
	for _, r := range routes {
		seen[r.Config().Name] = true
	}
	for _, r := range slices.Backward(retired) {
		if !seen[r.Config().Name] {
			seen[r.Config().Name] = true
			s := r.Status()
			s.Removed = true
			all = append(all, s)
		}
	}
	return all
}

// log writes the last log line of a host that ran for up: a warning if anything was not delivered.
func (t *totals) log(log hclog.Logger, up time.Duration) {
	line := log.Info
	if t.all.FramesNotDelivered > 0 || t.all.BytesNotDelivered > 0 {
		line = log.Warn
	}
	line("stopped", "up", up.Round(time.Millisecond), "accepted", t.accepted, "refused", t.refused, "ended", control.Reasons(t.closed),
		"frames_in", t.all.FramesIn, "frames_out", t.all.FramesOut, "bytes_in", t.all.BytesRead, "bytes_out", t.all.BytesWritten,
		"frames_not_delivered", t.all.FramesNotDelivered, "bytes_not_delivered", t.all.BytesNotDelivered)
}

// cutSince returns an error that wraps [control.ErrCut] if sessions have been cut since before, and something was not delivered or
// atOnce is set.
func (t *totals) cutSince(before *totals, atOnce bool) error {
	cut := t.closed[string(relay.DrainTimeout)] - before.closed[string(relay.DrainTimeout)]
	frames := t.all.FramesNotDelivered - before.all.FramesNotDelivered
	bytes := t.all.BytesNotDelivered - before.all.BytesNotDelivered
	if cut == 0 || frames == 0 && bytes == 0 && !atOnce {
		return nil
	}
	return fmt.Errorf("%w: %d cut, %d frames and %d bytes not delivered", control.ErrCut, cut, frames, bytes)
}

package route

import (
	"cmp"
	"maps"
	"slices"

	"github.com/framehost/framehost/host/control"
)

// Status returns the present state of the route. Its counts are those of all routes of this name.
func (r *Route) Status() control.RouteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := control.RouteStatus{
		Name: r.config.Name, From: r.from(), To: r.to(), Accepted: r.accepted, Refused: r.refused,
		Closed: maps.Clone(r.closed), ToUpstream: r.done.ToUpstream, ToDownstream: r.done.ToDownstream,
		Sessions: []control.SessionStatus{}, Announced: r.presence.Announced(), Services: r.presence.Found(), NotReady: r.notReady,
	}
	for _, s := range r.allLive() {
		one := s.status()
		status.ToUpstream.Add(&one.ToUpstream)
		status.ToDownstream.Add(&one.ToDownstream)
		status.Sessions = append(status.Sessions, one)
	}
	slices.SortFunc(status.Sessions, func(a, b control.SessionStatus) int { return cmp.Compare(a.ID, b.ID) })
	switch {
	case r.hub != nil:
		r.hub.status(&status)
	case r.flows != nil && r.flows.conn != nil:
		status.Flows = r.flows.status()
	}
	return status
}

// FinalStatus returns the counts of all routes of this name, if they have stopped and no other call has returned the counts.
func (r *Route) FinalStatus() (status control.RouteStatus, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.routes) > 0 || r.final {
		return status, false
	}
	r.final = true
	status = control.RouteStatus{
		Accepted: r.accepted, Refused: r.refused, Closed: r.closed, ToUpstream: r.done.ToUpstream, ToDownstream: r.done.ToDownstream,
	}
	if r.room != nil {
		status.Hub = &control.HubStatus{MemberCounts: r.room.Stats().MemberCounts}
	}
	return status, true
}

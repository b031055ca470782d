package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
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

// Addresses returns where the route listens, in the order of its endpoints.
func (r *Route) Addresses() (all []endpoint.Address) {
	for _, p := range r.places() {
		all = append(all, p.address)
	}
	return all
}

// A boundAddress is the address where an endpoint listens, with the real port instead of port 0.
type boundAddress struct {
	endpoint *config.Endpoint
	address  endpoint.Address
}

// places returns the addresses where the route listens, in the order of its endpoints.
func (r *Route) places() []boundAddress {
	switch {
	case r.hub != nil:
		return r.hub.places()
	case r.takes != nil:
		return []boundAddress{{&r.config.From, r.takes.places()[0].address}}
	case r.flows != nil && r.flows.conn != nil:
		return []boundAddress{{&r.config.From, r.flows.addr()}}
	case r.listener != nil:
		return []boundAddress{{&r.config.From, r.listener.Addr()}}
	}
	return nil
}

// bound returns the address where e listens; "" if e does not listen.
func (r *Route) bound(e *config.Endpoint) string {
	for _, p := range r.places() {
		if p.endpoint == e {
			return p.address.Address
		}
	}
	return ""
}

func (r *Route) from() string { return r.describe(&r.config.From) }

func (r *Route) to() string {
	var all []string
	for _, e := range r.config.Sides()[1:] {
		all = append(all, r.describe(e))
	}
	return strings.Join(all, ", ")
}

// describe returns "listen" or "dial" and the address of e, with the real port if e listens.
func (r *Route) describe(e *config.Endpoint) string {
	for _, p := range r.places() {
		if p.endpoint == e {
			return "listen " + p.address.String()
		}
	}
	return describe(e)
}

func describe(e *config.Endpoint) string {
	if e.Listen != nil {
		return "listen " + e.Listen.String()
	}
	return "dial " + e.Dial.String()
}

package route

import (
	"strings"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
)

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

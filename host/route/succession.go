package route

import (
	"fmt"
	"slices"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/relay"
)

// PlanTakeOver makes r take over from o in TakeOver, if it can, and reports whether it can. r takes over from one route at most. A hub
// can take over from a hub of the same name; another route can take over from one that listens at the same address. The options
// of a datagram socket are then the same too, because a reload refuses changes of them.
func (r *Route) PlanTakeOver(o *Route) bool {
	if r.takes != nil || !r.canTakeOver(o) {
		return false
	}
	r.takes = o
	return true
}

func (r *Route) canTakeOver(o *Route) bool {
	a, b := r.config.From.Listen, o.config.From.Listen
	switch {
	case o.dials.Err() != nil: // o is down, and has closed its sockets
		return false
	case r.hub != nil && o.hub != nil:
		return r.config.Name == o.config.Name
	case r.hub != nil || o.hub != nil || a == nil || b == nil || a.String() != b.String():
		return false
	case a.Port == 0 && a.Scheme != "unix" && r.config.Name != o.config.Name: // each has a different port
		return false
	case r.flows != nil:
		return o.flows != nil && o.flows.conn != nil
	}
	return o.flows == nil && o.listener != nil
}

// SharesAddress reports whether r can't listen while o listens, because both may use one address. Sockets for datagrams can
// share an address, unless the route answers the datagrams. A socket that r takes over from o does not count.
func (r *Route) SharesAddress(o *Route) bool {
	if r.takes == o && r.hub == nil {
		return false
	}
	return slices.ContainsFunc(r.exclusive(), func(a *config.Address) bool {
		return slices.ContainsFunc(o.exclusive(), func(b *config.Address) bool {
			switch {
			case a.Scheme != b.Scheme:
				return false
			case r.takes == o && a.String() == b.String(): // the socket is taken over
				return false
			case a.Scheme == "unix":
				return a.Path == b.Path
			}
			return a.Port != 0 && a.Port == b.Port // different IP addresses may still collide, as 0.0.0.0 does with any
		})
	})
}

// exclusive returns the addresses of r at which no other socket can listen.
func (r *Route) exclusive() (all []*config.Address) {
	for _, e := range r.config.Sides() {
		if e.Listen != nil && (!e.Datagrams() || r.flows != nil) {
			all = append(all, e.Listen)
		}
	}
	return all
}

// TakeOver puts the limits of connections in force, and takes over what PlanTakeOver decided, which may be nothing. A reload calls it
// for each new route.
func (r *Route) TakeOver() (err error) {
	r.connections.SetLimits(r.config.Limits.MaxConnections, r.config.Limits.MaxConnectionsPerAddress)
	switch {
	case r.takes == nil:
		return nil
	case r.hub != nil:
		err = r.hub.takeOver(r.takes.hub)
	case r.flows != nil:
		r.flows = r.takes.flows.passTo(r)
	default:
		r.listener, err = r.takes.listener.Transfer(r.listenOptions(&r.config.From))
	}
	r.takes = nil
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	return nil
}

// Retire stops listening, dialing and announcing. Sessions go on.
func (r *Route) Retire() {
	close(r.retired)
	r.stopAccepting()
	if r.hub != nil {
		r.hub.retire()
	}
}

func (r *Route) stopAccepting() {
	r.halt(relay.Drained)
	switch {
	case r.hub != nil:
		r.hub.halt()
	case r.flows != nil:
		r.flows.retire(r)
	case r.listener != nil:
		_ = r.listener.Close()
	}
}

// Adopt makes the route use codecs, a Set in which the route's codecs are the same, in place of its present Set. With the Set
// of an earlier configuration the route would also keep the plugins of that configuration's other routes.
func (r *Route) Adopt(codecs *plugins.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		codecs.Use()
		r.codecs.Leave()
		r.codecs = codecs
	}
}

package route

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// A Drain ends the live sessions of one Route. Sessions that opened before a reload belong to another Route, with
// its own timeouts.drain, and have a drain of their own. The ledger's mu guards waits, ended and cut.
type Drain struct {
	route *Route
	waits map[uint64]drainable // the sessions that have not ended
	ended []control.DrainedSession
	cut   int           // how many of ended were cut before they had delivered everything
	idle  chan struct{} // closed when waits is empty
}

// A drainable is a session or a hub connection.
type drainable interface {
	Drain() // asks it to end in good order, when it can
	Cut()   // ends it soon, with relay.DrainTimeout
	abort() // ends it at once, with relay.DrainTimeout
}

// BeginDrain returns a drain of the sessions of r; nil if there is nothing to drain. current is the route with the same name
// in the running configuration; nil if there is none.
func (r *Route) BeginDrain(current *Route, outdated bool) *Drain {
	d := &Drain{route: r, waits: map[uint64]drainable{}, idle: make(chan struct{})}
	var stays []side // the sides of a hub whose connections are not outdated
	if outdated && current != nil && current.hub != nil {
		stays = current.hub.current()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r != current {
		r.draining = true // a connection that is not a session yet would get the earlier settings
		r.unpair(relay.Drained)
	}
	if r != current || !outdated {
		for id, s := range r.live {
			d.waits[id] = s
		}
	}
	if r.room != nil {
		for id, m := range r.room.connections(r, stays) {
			d.waits[id] = m
		}
	}
	if len(d.waits) == 0 {
		return nil
	}
	r.drains = append(r.drains, d)
	return d
}

// connections returns the members that are connections of the route of, without those whose side is in stay.
func (r *room) connections(of *Route, stay []side) map[uint64]drainable {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[uint64]drainable{}
	for id, m := range r.members {
		if m.side != nil && m.route == of && !slices.Contains(stay, side(m.side)) {
			all[id] = m
		}
	}
	return all
}

// left returns the sessions that have not ended.
func (d *Drain) left() []drainable {
	d.route.mu.Lock()
	defer d.route.mu.Unlock()
	return slices.Collect(maps.Values(d.waits))
}

// Run asks all sessions to end, cuts those that are left after timeouts.drain, and ends at once those that are left after
// cutPatience.
func (d *Drain) Run() {
	r, limit := d.route, d.route.config.Timeouts.Drain
	all := d.left()
	r.log.Info("draining: live sessions end as they come to rest, and new ones begin meanwhile", "sessions", len(all), "drain", limit)
	for _, s := range all {
		s.Drain()
	}
	if !await(context.Background(), d.idle, limit) {
		all = d.left()
		r.log.Warn("timeouts.drain has passed: what is left is cut", "drain", limit, "left", len(all))
		for _, s := range all {
			s.Cut()
		}
		if !await(context.Background(), d.idle, cutPatience) {
			for _, s := range d.left() {
				s.abort()
			}
			await(context.Background(), d.idle, cutPatience) // a session that is left after that waits for its plugin
		}
	}
	report := DrainReport(r.config.Name, []*Drain{d})
	line := r.log.Info
	if report.Err() != nil {
		line = r.log.Warn
	}
	line("drained", "ended", report.Reasons(), "left", report.Left,
		"frames_not_delivered", report.FramesNotDelivered, "bytes_not_delivered", report.BytesNotDelivered)
}

// DrainReport returns one report of drains, which all belong to the route of that name.
func DrainReport(name string, drains []*Drain) *control.DrainReport {
	report := &control.DrainReport{Route: name, Ended: []control.DrainedSession{}}
	for _, d := range drains {
		d.route.mu.Lock()
		report.Ended = append(report.Ended, d.ended...)
		report.Cut += d.cut
		report.Left += len(d.waits)
		d.route.mu.Unlock()
	}
	for i := range report.Ended {
		report.FramesNotDelivered += report.Ended[i].FramesNotDelivered
		report.BytesNotDelivered += report.Ended[i].BytesNotDelivered
	}
	slices.SortFunc(report.Ended, func(a, b control.DrainedSession) int { return cmp.Compare(a.ID, b.ID) })
	return report
}

// drained records in the ledger's drains that a session or a hub connection has ended. The caller holds mu.
func (l *ledger) drained(one *control.DrainedSession) {
	l.drains = slices.DeleteFunc(l.drains, func(d *Drain) bool {
		if d.waits[one.ID] == nil {
			return false
		}
		delete(d.waits, one.ID)
		d.ended = append(d.ended, *one)
		if one.WasCut() {
			d.cut++
		}
		if len(d.waits) == 0 {
			close(d.idle)
		}
		return len(d.waits) == 0
	})
}

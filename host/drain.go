package host

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// A drain ends the live sessions of one route value. Sessions that opened before a reload belong to another route value, with
// its own timeouts.drain, and have a drain of their own. The ledger's mu guards waits, ended and cut.
type drain struct {
	route *route
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

// Drain ends the live sessions of the route of that name, or the live connections if the route is a hub. They go on until
// they end by themselves or are at rest; those that are left when the timeouts.drain that they opened with has passed are
// cut. Meanwhile the route itself goes on: it listens, dials, and makes new sessions with the settings now in force. With
// outdated, Drain ends only sessions that opened before a reload changed or removed the route; for a removed route, name is
// the name that it had. Datagram members of a hub go on, because their peers could not see an end.
//
// Drain returns when all of these sessions have ended. When ctx ends, it returns early and the drain goes on. It fails with
// ErrNoRoute, or when the host is ending.
func (h *Host) Drain(ctx context.Context, name string, outdated bool) (*control.DrainReport, error) {
	drains, err := h.beginDrain(name, outdated)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	for _, d := range drains {
		all.Go(d.run)
	}
	go func() {
		defer h.drains.Done()
		defer close(over)
		all.Wait()
	}()
	select {
	case <-over:
		return reportOf(name, drains), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// beginDrain returns the drains that end the sessions, and adds one to h.drains. The caller runs each drain, and calls
// h.drains.Done when all have returned.
func (h *Host) beginDrain(name string, outdated bool) ([]*drain, error) {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.mu.Lock()
	routes, retired, ending := h.routes, h.retired, h.draining || h.life.Err() != nil
	h.mu.Unlock()
	if ending {
		return nil, fmt.Errorf("drain: %w", errHostEnds)
	}
	var current *route
	var all []*route
	for _, r := range routes {
		if r.config.Name == name {
			current, all = r, append(all, r)
		}
	}
	for _, r := range retired {
		if r.config.Name == name {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil, h.noRoute(name)
	}
	var drains []*drain
	for _, r := range all {
		if d := r.beginDrain(current, outdated); d != nil {
			drains = append(drains, d)
		}
	}
	h.drains.Add(1)
	return drains, nil
}

// noRoute returns the error for a name that no route has. It wraps ErrNoRoute.
func (h *Host) noRoute(name string) error {
	var names []string
	h.mu.Lock()
	for _, r := range slices.Concat(h.routes, h.retired) {
		names = append(names, r.config.Name)
	}
	h.mu.Unlock()
	slices.Sort(names)
	names = slices.Compact(names)
	switch near := config.Nearest(name, names); {
	case len(names) == 0:
		return fmt.Errorf("%w %q: the host has no routes", control.ErrNoRoute, name)
	case near != "":
		return fmt.Errorf("%w %q; did you mean %s? want one of %s", control.ErrNoRoute, name, near, strings.Join(names, ", "))
	}
	return fmt.Errorf("%w %q, want one of %s", control.ErrNoRoute, name, strings.Join(names, ", "))
}

// beginDrain returns a drain of the sessions of r; nil if there is nothing to drain. current is the route with the same name
// in the running configuration; nil if there is none.
func (r *route) beginDrain(current *route, outdated bool) *drain {
	d := &drain{route: r, waits: map[uint64]drainable{}, idle: make(chan struct{})}
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
func (r *room) connections(of *route, stay []side) map[uint64]drainable {
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
func (d *drain) left() []drainable {
	d.route.mu.Lock()
	defer d.route.mu.Unlock()
	return slices.Collect(maps.Values(d.waits))
}

// run asks all sessions to end, cuts those that are left after timeouts.drain, and ends at once those that are left after
// cutPatience.
func (d *drain) run() {
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
	report := reportOf(r.config.Name, []*drain{d})
	line := r.log.Info
	if report.Err() != nil {
		line = r.log.Warn
	}
	line("drained", "ended", report.Reasons(), "left", report.Left,
		"frames_not_delivered", report.FramesNotDelivered, "bytes_not_delivered", report.BytesNotDelivered)
}

// reportOf returns one report of drains, which are those of the route of that name.
func reportOf(name string, drains []*drain) *control.DrainReport {
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
	l.drains = slices.DeleteFunc(l.drains, func(d *drain) bool {
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

package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/relay"
)

// ErrNoRoute is wrapped by the error of a request that names a route which the host does not have.
var ErrNoRoute = errors.New("there is no route")

// A DrainReport lists the sessions that a drain of one route ended, as `framehost drain` shows it. Its JSON is stable: fields
// are added, not changed.
type DrainReport struct {
	Route string           `json:"route"`
	Ended []DrainedSession `json:"ended"` // in the order of their IDs
	// Cut is how many of the ended sessions were cut by timeouts.drain before they had delivered everything.
	Cut int `json:"cut"`
	// Left is how many sessions have not ended: their peers were reset, and each waits for a plugin to answer a call.
	Left int `json:"left"`
	// What the ended sessions did not deliver: frames that were decoded and not written, and bytes.
	FramesNotDelivered int64 `json:"frames_not_delivered"`
	BytesNotDelivered  int64 `json:"bytes_not_delivered"`
}

// DrainedSession is a session or a hub connection that a drain ended.
type DrainedSession struct {
	ID         uint64 `json:"id"`
	Downstream string `json:"downstream,omitempty"` // of a session, as is Upstream
	Upstream   string `json:"upstream,omitempty"`
	Endpoint   string `json:"endpoint,omitempty"` // of a hub connection, as is Peer
	Peer       string `json:"peer,omitempty"`

	Age                time.Duration `json:"age_ns"`
	Reason             string        `json:"reason"`
	FramesNotDelivered int64         `json:"frames_not_delivered"`
	BytesNotDelivered  int64         `json:"bytes_not_delivered"`
}

// Reasons lists how many sessions ended for each reason, the most frequent first.
func (d *DrainReport) Reasons() string {
	closed := map[string]int64{}
	for i := range d.Ended {
		closed[d.Ended[i].Reason]++
	}
	return Reasons(closed)
}

// wasCut reports whether the session was cut before it had delivered everything.
func (s *DrainedSession) wasCut() bool {
	return s.Reason == string(relay.DrainTimeout) && (s.FramesNotDelivered > 0 || s.BytesNotDelivered > 0)
}

// A drain ends the live sessions of one route value. Sessions that opened before a reload belong to another route value, with
// its own timeouts.drain, and have a drain of their own. The ledger's mu guards waits, ended and cut.
type drain struct {
	route *route
	waits map[uint64]drainable // the sessions that have not ended
	ended []DrainedSession
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
func (h *Host) Drain(ctx context.Context, name string, outdated bool) (*DrainReport, error) {
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
		return fmt.Errorf("%w %q: the host has no routes", ErrNoRoute, name)
	case near != "":
		return fmt.Errorf("%w %q; did you mean %s? want one of %s", ErrNoRoute, name, near, strings.Join(names, ", "))
	}
	return fmt.Errorf("%w %q, want one of %s", ErrNoRoute, name, strings.Join(names, ", "))
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

// Err returns an error that wraps ErrCut if the drain cut sessions before they had delivered everything, or left some that
// have not ended; otherwise nil.
func (d *DrainReport) Err() error {
	if d.Cut == 0 && d.Left == 0 {
		return nil
	}
	frames, bytes := int64(0), int64(0)
	for i := range d.Ended {
		if one := &d.Ended[i]; one.wasCut() {
			frames += one.FramesNotDelivered
			bytes += one.BytesNotDelivered
		}
	}
	err := fmt.Errorf("%w: %d cut, %d frames and %d bytes not delivered", ErrCut, d.Cut+d.Left, frames, bytes)
	if d.Left > 0 {
		err = fmt.Errorf("%w; of %d it is not known yet what, for their plugin has not answered", err, d.Left)
	}
	return err
}

// reportOf returns one report of drains, which are those of the route of that name.
func reportOf(name string, drains []*drain) *DrainReport {
	report := &DrainReport{Route: name, Ended: []DrainedSession{}}
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
	slices.SortFunc(report.Ended, func(a, b DrainedSession) int { return cmp.Compare(a.ID, b.ID) })
	return report
}

// drained records in the ledger's drains that a session or a hub connection has ended. The caller holds mu.
func (l *ledger) drained(one *DrainedSession) {
	l.drains = slices.DeleteFunc(l.drains, func(d *drain) bool {
		if d.waits[one.ID] == nil {
			return false
		}
		delete(d.waits, one.ID)
		d.ended = append(d.ended, *one)
		if one.wasCut() {
			d.cut++
		}
		if len(d.waits) == 0 {
			close(d.idle)
		}
		return len(d.waits) == 0
	})
}

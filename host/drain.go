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

// ErrNoRoute is wrapped by the error of a request about a route that the host does not have.
var ErrNoRoute = errors.New("there is no route")

// A DrainReport is what a drain of one route ended, as `framehost drain` shows it. Its JSON is stable: fields are added, not
// changed.
type DrainReport struct {
	Route string           `json:"route"`
	Ended []DrainedSession `json:"ended"` // in the order of their numbers
	// Cut is how many of them timeouts.drain cut before they had delivered everything.
	Cut int `json:"cut"`
	// Left is how many sessions have not ended: their peers were reset, and a plugin has not answered a call of theirs yet.
	Left int `json:"left"`
	// What the sessions that ended did not deliver: frames that were decoded and not written, and bytes.
	FramesNotDelivered int64 `json:"frames_not_delivered"`
	BytesNotDelivered  int64 `json:"bytes_not_delivered"`
}

// DrainedSession is a session, or a connection of a hub, that a drain ended.
type DrainedSession struct {
	ID         uint64 `json:"id"`
	Downstream string `json:"downstream,omitempty"` // of a session
	Upstream   string `json:"upstream,omitempty"`
	Endpoint   string `json:"endpoint,omitempty"` // of a hub, with its peer
	Peer       string `json:"peer,omitempty"`

	Age                time.Duration `json:"age_ns"`
	Reason             string        `json:"reason"`
	FramesNotDelivered int64         `json:"frames_not_delivered"`
	BytesNotDelivered  int64         `json:"bytes_not_delivered"`
}

// Reasons lists how many sessions ended for which reason, the most frequent first.
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

// A drain ends what lives of one route, and no other: sessions of a configuration before a reload apart, as they have a
// timeouts.drain of their own. The ledger's mu guards what is not set at the start.
type drain struct {
	route *route
	waits map[uint64]drainee // what has not ended
	ended []DrainedSession
	cut   int           // of ended
	idle  chan struct{} // closed when waits is empty
}

// A drainee is a session, or a connection of a hub.
type drainee interface {
	Drain() // asks it to end well, when it can
	Cut()   // ends it soon, with relay.DrainTimeout
	abort() // ends it at once, with relay.DrainTimeout
}

// Drain ends the live sessions of the route of that name, or the live connections of a hub: they go on until they end by
// themselves or rest, for at most the timeouts.drain that they opened with, and what is left then is cut. The route goes on:
// it listens, dials, and makes new sessions meanwhile, with the settings that are in force. With outdated, only sessions
// are drained that opened before a reload changed or removed the route. Sessions of a route that a reload removed are drained
// by its name. Places of datagrams in a hub have no end that a peer could see, and go on.
//
// Drain returns when all of them have ended. When ctx ends it returns early, and the drain goes on. It fails with ErrNoRoute,
// or when the host is ending.
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

// beginDrain notes what is to be drained. Each of the drains is to be run, and h.drains to be told when all have.
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

// noRoute is the error about a name that no route has.
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
		return fmt.Errorf("%w %q, nor any other", ErrNoRoute, name)
	case near != "":
		return fmt.Errorf("%w %q; did you mean %s? want one of %s", ErrNoRoute, name, near, strings.Join(names, ", "))
	}
	return fmt.Errorf("%w %q, want one of %s", ErrNoRoute, name, strings.Join(names, ", "))
}

// beginDrain notes what of r is to be drained; current is the route of its name in the configuration that runs, or nil. nil:
// nothing is.
func (r *route) beginDrain(current *route, outdated bool) *drain {
	d := &drain{route: r, waits: map[uint64]drainee{}, idle: make(chan struct{})}
	var stays []side // of a hub: the connections of these are not outdated
	if outdated && current != nil && current.hub != nil {
		stays = current.hub.current()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r != current {
		r.draining = true // what is still on its way to be a session would have the earlier settings
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

// connections returns the connections that a route has brought to the hub, other than those of the sides that stay.
func (r *room) connections(of *route, stay []side) map[uint64]drainee {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[uint64]drainee{}
	for id, m := range r.members {
		if m.side != nil && m.route == of && !slices.Contains(stay, side(m.side)) {
			all[id] = m
		}
	}
	return all
}

// left returns what has not ended.
func (d *drain) left() []drainee {
	d.route.mu.Lock()
	defer d.route.mu.Unlock()
	return slices.Collect(maps.Values(d.waits))
}

// run drains, cuts what is left when timeouts.drain has passed, and then ends it at once.
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
			await(context.Background(), d.idle, cutPatience) // what is left then waits for its plugin
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

// Err is an error that wraps ErrCut if the drain cut sessions which had not delivered everything, or left some.
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

// drained notes that a session, or a connection of a hub, has ended. The caller holds mu.
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

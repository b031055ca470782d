package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/route"
)

// Drain ends the live sessions of the route of that name, or the live connections if the route is a hub. They go on until
// they end by themselves or are at rest; those that are left when the timeouts.drain that they opened with has passed are
// cut. Meanwhile the route itself goes on: it listens, dials, and makes new sessions with the settings now in force. With
// outdated, Drain ends only sessions that opened before a reload changed or removed the route; for a removed route, name is
// the name that it had. Datagram members of a hub go on, because their peers could not see an end.
//
// Drain returns when all of these sessions have ended. When ctx ends, it returns early and the drain goes on. It fails with
// [control.ErrNoRoute], or when the host is ending.
func (h *Host) Drain(ctx context.Context, name string, outdated bool) (*control.DrainReport, error) {
	drains, err := h.beginDrain(name, outdated)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	for _, d := range drains {
		all.Go(d.Run)
	}
	go func() {
		defer h.drains.Done()
		defer close(over)
		all.Wait()
	}()
	select {
	case <-over:
		return route.DrainReport(name, drains), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// beginDrain returns the drains that end the sessions, and adds one to h.drains. The caller runs each drain, and calls
// h.drains.Done when all have returned.
func (h *Host) beginDrain(name string, outdated bool) ([]*route.Drain, error) {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.mu.Lock()
	routes, retired, ending := h.routes, h.retired, h.draining || h.life.Err() != nil
	h.mu.Unlock()
	if ending {
		return nil, fmt.Errorf("drain: %w", errHostEnds)
	}
	var current *route.Route
	var all []*route.Route
	for _, r := range routes {
		if r.Config().Name == name {
			current, all = r, append(all, r)
		}
	}
	for _, r := range retired {
		if r.Config().Name == name {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil, h.noRoute(name)
	}
	var drains []*route.Drain
	for _, r := range all {
		if d := r.BeginDrain(current, outdated); d != nil {
			drains = append(drains, d)
		}
	}
	h.drains.Add(1)
	return drains, nil
}

// noRoute returns the error for a name that no route has. It wraps [control.ErrNoRoute].
func (h *Host) noRoute(name string) error {
	var names []string
	h.mu.Lock()
	for _, r := range slices.Concat(h.routes, h.retired) {
		names = append(names, r.Config().Name)
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

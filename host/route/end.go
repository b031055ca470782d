package route

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/framehost/framehost/host/relay"
)

// drain stops listening, dialing and announcing, and asks sessions to end in good order. They go on until they can.
func (r *Route) drain() {
	r.drainSessions()
	if r.hub != nil {
		r.hub.Drain(relay.Drained)
	}
}

// drainSessions is like drain, but does not drain the members of a hub.
func (r *Route) drainSessions() {
	r.mu.Lock()
	r.draining = true
	live := slices.Collect(maps.Values(r.live))
	r.mu.Unlock()
	r.stopAccepting()
	for _, s := range live {
		s.Drain()
	}
}

// cut soon ends the sessions that are left after a drain: they still write the frames that they have read. Members of a hub
// end at once.
func (r *Route) cut() {
	r.mu.Lock()
	r.cutting = true
	live := slices.Collect(maps.Values(r.live))
	r.mu.Unlock()
	r.unpair(relay.DrainTimeout)
	if r.hub != nil {
		r.cancel(relay.DrainTimeout)
	}
	for _, s := range live {
		s.Cut()
	}
}

// cutPatience is how long a session that was cut may take to end before it is ended at once. In this time it writes its
// frames and waits until the peer has acknowledged them.
const cutPatience = 3 * time.Second

// End drains the route, cuts the sessions that are left after timeouts.drain, and ends at once those that are left after
// cutPatience, or when ctx ends. It does not wait for sessions that it ended at once: they may be waiting for an answer from
// a plugin.
func (r *Route) End(ctx context.Context) {
	r.drain()
	idle := make(chan struct{})
	go func() {
		r.work.Wait()
		close(idle)
	}()
	limit := r.config.Timeouts.Drain
	if await(ctx, idle, limit) {
		return
	}
	if ctx.Err() == nil {
		r.log.Warn("timeouts.drain has passed: sessions that are left are cut", "drain", limit, "left", r.left())
		r.cut()
		if await(ctx, idle, cutPatience) {
			return
		}
	} else if n := r.left(); n > 0 {
		r.log.Warn("sessions that are left are cut at once", "left", n, "why", context.Cause(ctx))
	}
	r.cancel(relay.DrainTimeout)
}

// EndNow ends the sessions of the route at once. It does not wait for them.
func (r *Route) EndNow() {
	r.drain()
	r.cancel(relay.DrainTimeout)
}

// Wait waits until the last session of the route has ended. The route must have been retired, drained or cut: otherwise new
// sessions begin.
func (r *Route) Wait() { r.work.Wait() }

// Stop ends the route at once and waits until it has ended. Other routes of the same name, and the members that they have in
// the same room, go on.
func (r *Route) Stop() {
	r.mu.Lock()
	alone := !slices.ContainsFunc(r.routes, func(o *Route) bool { return o != r })
	r.mu.Unlock()
	if alone {
		r.drain()
	} else {
		r.drainSessions()
	}
	r.cancel(relay.DrainTimeout)
	switch { // a route that was never started has no goroutine that closes these
	case r.hub != nil:
		r.hub.close()
	case r.flows != nil:
		r.flows.abandon(r)
	}
	r.work.Wait()
	r.ends.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.stopped = true
		r.codecs.Leave()
		r.routes = slices.DeleteFunc(r.routes, func(o *Route) bool { return o == r })
	}
}

// left returns how many live sessions or hub members there are.
func (r *Route) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hub != nil {
		return r.hub.Stats().Members
	}
	return len(r.live)
}

// await waits until done is closed, limit (0: no limit) has passed, or ctx ends. It reports whether done is closed.
func await(ctx context.Context, done <-chan struct{}, limit time.Duration) bool {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits for the given time or until ctx ends. It reports whether the time has passed.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

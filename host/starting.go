package host

import (
	"context"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
)

// startTogether is how long routes wait for each other when a host starts. Most of what can be wrong is known by then, and
// no connection has been accepted.
const startTogether = time.Second

// A preparation is what has to be done before a route can relay: its plugins come up, and its codecs are configured.
type preparation struct {
	route *route
	late  error // a plugin has not come up in time; the next attempt may succeed
	err   error // the route can't run
}

// prepare configures the codecs of r and checks what is known only then.
func prepare(ctx context.Context, s *plugins.Set, r *config.Route) (late, err error) {
	keys := plugins.KeysOf(s.Config(), r)
	if late, err = s.StartPlugins(ctx, keys); late != nil || err != nil {
		return late, err
	}
	if err := s.ConfigureAll(ctx, keys); err != nil {
		return nil, err
	}
	return nil, config.Join(checkMemory(ctx, s, r), checkStateless(ctx, s, r))
}

// prepareRoutes prepares all routes, each by itself, and sends what came of each.
func (h *Host) prepareRoutes(ctx context.Context) <-chan preparation {
	done := make(chan preparation, len(h.routes))
	for _, r := range h.routes {
		go func() {
			p := preparation{route: r}
			p.late, p.err = prepare(ctx, h.codecs, r.config)
			done <- p
		}()
	}
	return done
}

// startRoutes opens and starts the routes, and returns when each has been started, can't be, or waits for a plugin that has not
// come up within timeouts.start. Routes that are ready wait for the others for a moment only: what is wrong is usually found
// before the first listens. A route that waits for its plugin listens already, so connections wait with it. With an error, of
// everything that is wrong, the routes are to be stopped. opened is called when all routes listen.
func (h *Host) startRoutes(ctx context.Context, opened func() error) error {
	preparations := h.prepareRoutes(ctx)
	moment := time.NewTimer(startTogether)
	defer moment.Stop()
	var ready []preparation
	var errs []error
	for enough := false; !enough && len(ready) < len(h.routes); {
		select {
		case p := <-preparations:
			ready = append(ready, p)
			errs = append(errs, p.err)
		case <-moment.C:
			enough = config.Join(errs...) == nil // else what else is wrong is said at once
		}
	}
	if err := config.Join(errs...); err != nil {
		return err
	}
	if err := h.openRoutes(ctx, opened); err != nil {
		return err
	}
	for i := range h.routes {
		if i == len(ready) {
			ready = append(ready, <-preparations)
		}
		switch p := ready[i]; {
		case p.err != nil:
			errs = append(errs, p.err)
		case p.late != nil:
			p.route.startLater(p.late)
		default:
			p.route.start()
		}
	}
	return config.Join(errs...)
}

// openRoutes opens the listeners of all routes, and what they share.
func (h *Host) openRoutes(ctx context.Context, opened func() error) error {
	if err := h.openQuarantine(h.config); err != nil {
		return err
	}
	if err := h.openLAN(ctx, h.config); err != nil {
		return err
	}
	var errs []error
	for _, r := range h.routes {
		errs = append(errs, r.listen(ctx))
	}
	if err := config.Join(errs...); err != nil {
		return err
	}
	return opened()
}

// startLater starts the route when its plugins are up, unless it is drained first. late is why it can't start yet.
func (r *route) startLater(late error) {
	r.waitFor(late)
	r.work.Go(func() {
		var err error
		for late := late; late != nil && err == nil; {
			late, err = prepare(r.dials, r.currentCodecs(), r.config)
			r.waitFor(late)
		}
		switch {
		case r.dials.Err() != nil:
		case err != nil:
			r.log.Error("the route is down", "error", err)
			r.waitFor(err)
			r.drain()
		default:
			r.start()
		}
	})
}

// waitFor notes why the route does not relay; nil: it does.
func (r *route) waitFor(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notReady = ""
	if why != nil {
		r.notReady = why.Error()
	}
}

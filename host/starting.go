package host

import (
	"context"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
)

// startTogether is how long ready routes wait for the others when a host starts. By then most errors are found, and no
// connection has been accepted.
const startTogether = time.Second

// A preparation is the result of starting the plugins of a route and configuring its codecs.
type preparation struct {
	route *route
	late  error // a plugin was not up in time; the next attempt may succeed
	err   error // the route can't run
}

// prepare starts the plugins of r, configures its codecs, and makes the checks that need configured codecs. late is set if a
// plugin was not up in time but may still come up; err if r can't run.
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

// prepareRoutes prepares all routes concurrently, and sends the result for each.
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

// startRoutes opens and starts the routes. It returns when each route has been started, has failed, or waits for a plugin that
// was not up within timeouts.start. Ready routes wait for the others only for startTogether: by then most errors are found,
// and nothing listens yet. A route that waits for its plugin listens, and connections to it wait too. startRoutes calls
// opened when all routes listen. The error lists everything that is wrong; the caller must then stop the routes.
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
			enough = config.Join(errs...) == nil // after an error, wait for all results, to report all errors together
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

// openRoutes opens what the routes share, which is the quarantine and discovery, and the listeners of all routes. Then it
// calls opened.
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

// startLater starts the route in a goroutine when its plugins are up, unless the route is drained first. late is why the route
// can't start yet.
func (r *route) startLater(late error) {
	r.setNotReady(late)
	r.work.Go(func() {
		var err error
		for late := late; late != nil && err == nil; {
			late, err = prepare(r.dials, r.currentCodecs(), r.config)
			r.setNotReady(late)
		}
		switch {
		case r.dials.Err() != nil:
		case err != nil:
			r.log.Error("the route is down", "error", err)
			r.setNotReady(err)
			r.drain()
		default:
			r.start()
		}
	})
}

// setNotReady sets the reason that status shows for why the route does not relay; nil: the route relays.
func (r *route) setNotReady(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notReady = ""
	if why != nil {
		r.notReady = why.Error()
	}
}

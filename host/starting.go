package host

import (
	"context"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/route"
)

// startTogether is how long ready routes wait for the others when a host starts. By then most errors are found, and no
// connection has been accepted.
const startTogether = time.Second

// A preparation is the result of starting the plugins of a route and configuring its codecs.
type preparation struct {
	route *route.Route
	late  error // a plugin was not up in time; the next attempt may succeed
	err   error // the route can't run
}

// prepareRoutes prepares all routes concurrently, and sends the result for each.
func (h *Host) prepareRoutes(ctx context.Context) <-chan preparation {
	done := make(chan preparation, len(h.routes))
	for _, r := range h.routes {
		go func() {
			p := preparation{route: r}
			p.late, p.err = r.Prepare(ctx)
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
			p.route.StartLater(p.late)
		default:
			p.route.Start()
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
		errs = append(errs, r.Listen(ctx))
	}
	if err := config.Join(errs...); err != nil {
		return err
	}
	return opened()
}

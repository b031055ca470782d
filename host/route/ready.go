package route

import (
	"context"

	"github.com/framehost/framehost/host/plugins"
)

// Prepare starts the plugins of the route, configures its codecs, and makes the checks that need configured codecs. late is set if
// a plugin was not up in time but may still come up; err if the route can't run.
func (r *Route) Prepare(ctx context.Context) (late, err error) {
	for {
		codecs := r.Codecs()
		if late, err = r.prepare(ctx, codecs); late == nil && err == nil || r.Codecs() == codecs {
			return late, err
		}
		// A reload has put another Set in their place and closed them.
	}
}

func (r *Route) prepare(ctx context.Context, s *plugins.Set) (late, err error) {
	keys := plugins.KeysOf(s.Config(), r.config)
	if late, err = s.StartPlugins(ctx, keys); late != nil || err != nil {
		return late, err
	}
	if err := s.ConfigureAll(ctx, keys); err != nil {
		return nil, err
	}
	return nil, Check(ctx, s, r.config)
}

// StartLater starts the route in a goroutine when its plugins are up, unless the route is drained first. late is why the route
// can't start yet.
func (r *Route) StartLater(late error) {
	r.setNotReady(late)
	r.work.Go(func() {
		var err error
		for late := late; late != nil && err == nil; {
			late, err = r.Prepare(r.dials)
			r.setNotReady(late)
		}
		switch {
		case r.dials.Err() != nil:
		case err != nil:
			r.log.Error("the route is down", "error", err)
			r.setNotReady(err)
			r.drainSessions() // it has none; a drain of the hub would end that of the route which replaces r
		default:
			r.Start()
		}
	})
}

// setNotReady sets the reason why the route does not relay, for status; nil: the route relays.
func (r *Route) setNotReady(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notReady = ""
	if why != nil {
		r.notReady = why.Error()
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
)

// Reload makes c run in place of the present configuration. Routes that are the same in both, codecs included, go on
// untouched. Those that are new are started; those that are gone or changed stop listening, and their sessions end as in
// a drain. Plugins that both name alike go on with their processes.
//
// c is tried out first: when a plugin does not start, a codec's options are wrong, or a new address can't be listened on,
// Reload returns everything that is wrong and has changed nothing. Only the address of a route that changed and keeps
// its address can't be tried out before it is given up; should it then fail, that route is down, and the error says so.
//
// log.level applies at once. Of limits only max_connections does beyond what routes have of their own; a change of
// limits.memory, control, log.format, log.payload_bytes, log.wire_bytes or quarantine is refused, for it needs a new start; so is one of
// discovery once a route has used it. The key is read then, too.
func (h *Host) Reload(ctx context.Context, c *config.Config) error {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	h.mu.Lock()
	old, oldRoutes, draining, hadLAN := h.config, h.routes, h.draining, h.lan != nil
	h.mu.Unlock()
	if draining {
		return errors.New("reload: the host is ending")
	}
	if err := h.needsRestart(old, c); err != nil {
		return err
	}
	codecs := newCodecs(c, h.pool)
	plan, err := h.plan(ctx, c, codecs, oldRoutes)
	if err != nil {
		if !hadLAN {
			h.closeLAN()
		}
		return errors.Join(err, codecs.Close())
	}
	h.log.SetLevel(hclog.LevelFromString(string(c.Log.Level)))
	for _, warning := range c.Warnings {
		h.log.Warn(warning.String())
	}
	h.connections.SetLimits(h.connectionsAllowed(c), 0)
	errs := h.carryOut(ctx, plan)

	h.mu.Lock()
	h.config, h.routes = c, plan.routes
	h.mu.Unlock()
	for _, r := range plan.routes {
		r.adopt(codecs)
	}
	h.retire(plan.ending, codecs)
	h.log.Info("configuration reloaded", "routes", len(plan.routes), "started", len(plan.starting), "ended", len(plan.ending))
	return errors.Join(errs...)
}

// A plan is what a reload changes.
type plan struct {
	routes   []*route // of the new configuration, in its order
	starting []*route // those of them that are new
	late     []*route // those of starting that can listen only once an ending route has given up its address
	ending   []*route // that the new configuration does not have
}

// plan configures the codecs of c and opens the listeners of new routes. With an error, nothing is left of that.
func (h *Host) plan(ctx context.Context, c *config.Config, codecs *Codecs, old []*route) (*plan, error) {
	var keys []codecKey
	for i := range c.Routes {
		r := &c.Routes[i]
		keys = slices.Concat(keys, usesOf(c, r))
	}
	if err := codecs.configureAll(ctx, keys); err != nil {
		return nil, err
	}
	if err := h.openQuarantine(c); err != nil {
		return nil, err
	}
	if err := h.openLAN(ctx, c); err != nil {
		return nil, err
	}
	p := &plan{ending: slices.Clone(old)}
	var errs []error
	for i := range c.Routes {
		want := &c.Routes[i]
		if same := slices.IndexFunc(p.ending, func(r *route) bool { return r.is(ctx, want, codecs) }); same >= 0 {
			p.routes = append(p.routes, p.ending[same])
			p.ending = slices.Delete(p.ending, same, same+1)
			continue
		}
		r := newRoute(h, want, codecs)
		p.routes, p.starting = append(p.routes, r), append(p.starting, r)
		errs = append(errs, codecs.checkMemory(ctx, want), codecs.checkStateless(ctx, want))
	}
	for _, r := range p.starting {
		if slices.ContainsFunc(p.ending, func(o *route) bool { return r.sharesAddress(o) }) {
			p.late = append(p.late, r)
			continue
		}
		errs = append(errs, r.listen(ctx))
	}
	if err := config.Join(errs...); err != nil {
		for _, r := range p.starting {
			r.stop()
		}
		return nil, err
	}
	return p, nil
}

// carryOut ends and starts routes.
func (h *Host) carryOut(ctx context.Context, p *plan) []error {
	for _, r := range p.ending {
		r.drain()
	}
	var errs []error
	for _, r := range p.late {
		if err := r.listen(ctx); err != nil {
			errs = append(errs, fmt.Errorf("reload: the route is down: %w", err))
			r.stop()
			p.starting = slices.DeleteFunc(p.starting, func(s *route) bool { return s == r })
			p.routes = slices.DeleteFunc(p.routes, func(s *route) bool { return s == r })
		}
	}
	for _, r := range p.starting {
		r.start()
	}
	return errs
}

// retire waits, elsewhere, for routes that have ended. The codecs of earlier configurations are closed when no route
// has them any more; those of routes that go on are left.
func (h *Host) retire(ending []*route, current *Codecs) {
	h.mu.Lock()
	if h.codecs != current {
		h.earlier = append(h.earlier, h.codecs)
		h.codecs = current
	}
	h.mu.Unlock()
	for _, r := range ending {
		h.retiring.Go(func() {
			r.end(h.life)
			r.stop()
			h.closeUnused()
		})
	}
	h.closeUnused()
}

// closeUnused closes the codecs of earlier configurations that no route has any more.
func (h *Host) closeUnused() {
	var unused []*Codecs
	h.mu.Lock()
	h.earlier = slices.DeleteFunc(h.earlier, func(codecs *Codecs) bool {
		if codecs.users.Load() > 0 {
			return false
		}
		unused = append(unused, codecs)
		return true
	})
	h.mu.Unlock()
	for _, codecs := range unused { // which waits for processes to end
		if err := codecs.Close(); err != nil {
			h.log.Warn("plugin did not end well", "error", err)
		}
	}
}

// is reports whether the route is what the configuration wants, places in files aside.
func (r *route) is(ctx context.Context, want *config.Route, codecs *Codecs) bool {
	if !reflect.DeepEqual(withoutPlaces(*r.config), withoutPlaces(*want)) {
		return false
	}
	has := r.has()
	present := usesOf(has.config, r.config)
	for _, key := range usesOf(codecs.config, want) {
		if !slices.Contains(present, key) || !sameCodec(ctx, has, codecs, key) {
			return false
		}
	}
	return true
}

// sameCodec reports whether a codec is the same one in both: the same plugin process, options and limit.
func sameCodec(ctx context.Context, a, b *Codecs, key codecKey) bool {
	one, errOne := a.Codec(ctx, key.name, key.maxFrame)
	other, errOther := b.Codec(ctx, key.name, key.maxFrame)
	return errOne == nil && errOther == nil && one == other
}

// withoutPlaces returns r without the places where it was written.
func withoutPlaces(r config.Route) config.Route {
	nowhere := config.Position{}
	r.At = nowhere
	r.More = slices.Clone(r.More)
	for _, e := range r.Sides() {
		e.At = nowhere
		for _, address := range []**config.Address{&e.Listen, &e.Dial} {
			if *address != nil {
				a := **address
				a.At = nowhere
				*address = &a
			}
		}
		e.Select = slices.Clone(e.Select)
		for i := range e.Select {
			e.Select[i].At = nowhere
		}
	}
	return r
}

// sharesAddress reports whether both may listen on one address. Datagrams can be listened for twice, unless they are
// answered.
func (r *route) sharesAddress(o *route) bool {
	return slices.ContainsFunc(r.exclusive(), func(a *config.Address) bool {
		return slices.ContainsFunc(o.exclusive(), func(b *config.Address) bool {
			switch {
			case a.Scheme != b.Scheme:
				return false
			case a.Scheme == "unix":
				return a.Path == b.Path
			}
			return a.Port != 0 && a.Port == b.Port // on other addresses of this machine they may still collide
		})
	})
}

// exclusive returns the addresses that nobody else can listen on.
func (r *route) exclusive() (all []*config.Address) {
	for _, e := range r.config.Sides() {
		if e.Listen != nil && (!e.Datagrams() || r.flows != nil) {
			all = append(all, e.Listen)
		}
	}
	return all
}

// needsRestart refuses changes that only a new start can bring.
func (h *Host) needsRestart(old, c *config.Config) error {
	var changed []string
	for _, setting := range []struct {
		name string
		same bool
	}{
		{"limits.memory", old.Limits.Memory == c.Limits.Memory},
		{"control", old.Control == c.Control},
		{"log.format", old.Log.Format == c.Log.Format},
		{"log.payload_bytes", old.Log.PayloadBytes == c.Log.PayloadBytes},
		{"log.wire_bytes", old.Log.WireBytes == c.Log.WireBytes},
		{"quarantine", old.Quarantine == c.Quarantine},
		{"discovery", h.lan.sameSettings(c)},
	} {
		if !setting.same {
			changed = append(changed, setting.name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("reload: a change of %s needs a new start", strings.Join(changed, ", "))
}

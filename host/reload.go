package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/route"
)

// Reload replaces the running configuration by c. It ends no session. Routes that are the same in both configurations, codecs
// included, go on untouched. A changed route takes over from the old one: listeners whose address is the same keep their
// sockets, hubs keep their members, and a pair of dialed connections goes on until it ends. Sessions keep the settings that
// they opened with; new connections get the new ones. Removed routes stop listening, and their sessions go on. A plugin that
// both configurations define alike keeps its processes.
//
// Reload first tries c: if a plugin does not start, the options of a codec are wrong, or a new address can't be listened on,
// it returns an error that lists everything that is wrong, and has changed nothing. One case can't be tried first: an
// address that collides with one that the running configuration gives up, as 0.0.0.0:7001 does with 127.0.0.1:7001. If
// listening there then fails, that route is down, and the error says so.
//
// log.level and, of the limits that are not those of a route, max_connections apply at once. Reload refuses the changes that
// [config.Settings.RestartChanges] lists, because they need a restart. The settings of discovery can change until a route
// first uses discovery, which is also when the key is read.
//
// If ctx or the host ends before the change, Reload changes nothing, and returns as soon as the work under way allows.
func (h *Host) Reload(ctx context.Context, c *config.Config) error {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.life, func() { cancel(context.Cause(h.life)) })()
	h.mu.Lock()
	old, oldRoutes, draining, hadLAN := h.config, h.routes, h.draining, h.shared.LAN.Load() != nil
	h.mu.Unlock()
	if draining {
		return errEnding
	}
	from, to := h.settings(old), c.Settings()
	if err := needsRestart(from, to); err != nil {
		return err
	}
	changes := from.RouteChanges(to)
	codecs := h.pool.Open(c)
	plan, err := h.plan(ctx, c, codecs, oldRoutes, changes)
	if err == nil {
		err = h.commit(ctx, plan, changes)
	}
	if plan == nil || !plan.done {
		if !hadLAN {
			h.closeLAN()
		}
		return errors.Join(err, codecs.Close())
	}
	return err
}

var (
	errHostEnds = errors.New("the host is ending")
	errEnding   = fmt.Errorf("reload: %w", errHostEnds)
)

// settings returns the settings of c, the running configuration, to compare a new one with. It leaves out those that a reload
// may still change freely: routes that failed to listen, and discovery before its first use.
func (h *Host) settings(c *config.Config) *config.Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := c.Settings()
	s.Routes = slices.DeleteFunc(s.Routes, func(r config.RouteSettings) bool { // could not listen, so a reload adds it anew
		return !slices.ContainsFunc(h.routes, func(o *route.Route) bool { return o.Config().Name == r.Name })
	})
	if h.shared.LAN.Load() == nil { // the first route that uses discovery opens it with the settings at that time
		for key := range s.Restart {
			if strings.HasPrefix(key, "discovery.") {
				delete(s.Restart, key)
			}
		}
	}
	return s
}

// A plan says what a reload changes.
type plan struct {
	config   *config.Config
	codecs   *plugins.Set
	routes   []*route.Route // all routes of the new configuration, in its order
	starting []*route.Route // routes in it that are new or replace an old one
	late     []*route.Route // routes in starting that can listen only after an ending route has given up its address
	ending   []*route.Route // old routes that the new configuration lacks or changes
	done     bool           // commit has carried out the plan
}

// plan configures the codecs of c and opens the listeners of new routes. On error it closes those listeners again.
func (h *Host) plan(
	ctx context.Context, c *config.Config, codecs *plugins.Set, old []*route.Route, changes []config.RouteChange,
) (*plan, error) {
	var keys []plugins.Key
	for i := range c.Routes {
		r := &c.Routes[i]
		keys = slices.Concat(keys, plugins.KeysOf(c, r))
	}
	if err := codecs.ConfigureAll(ctx, keys); err != nil {
		return nil, err
	}
	if err := h.openQuarantine(c); err != nil {
		return nil, err
	}
	if err := h.openLAN(ctx, c); err != nil {
		return nil, err
	}
	p := &plan{config: c, codecs: codecs, ending: slices.Clone(old)}
	var errs []error
	for i := range c.Routes {
		want := &c.Routes[i]
		before := slices.IndexFunc(old, func(r *route.Route) bool { return r.Config().Name == want.Name })
		if before >= 0 && changes[i].Change == config.Unchanged {
			p.routes = append(p.routes, old[before])
			p.ending = slices.DeleteFunc(p.ending, func(r *route.Route) bool { return r == old[before] })
			continue
		}
		r := route.New(&h.shared, want, codecs, h.routeOf(want.Name))
		p.routes, p.starting = append(p.routes, r), append(p.starting, r)
		errs = append(errs, route.Check(ctx, codecs, want))
	}
	p.takeOver()
	for _, r := range p.starting {
		if slices.ContainsFunc(p.ending, func(o *route.Route) bool { return r.SharesAddress(o) }) {
			p.late = append(p.late, r)
			continue
		}
		errs = append(errs, r.Listen(ctx))
	}
	if err := config.Join(errs...); err != nil {
		p.abandon()
		return nil, err
	}
	return p, nil
}

// routeOf returns a route of that name, which may be one that a reload removed and whose sessions go on; nil if there is none.
func (h *Host) routeOf(name string) *route.Route {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range slices.Concat(h.routes, h.retired) {
		if r.Config().Name == name {
			return r
		}
	}
	return nil
}

// takeOver decides which route takes over which listeners. Routes of the same name come first.
func (p *plan) takeOver() {
	taken := map[*route.Route]bool{}
	for _, sameName := range []bool{true, false} {
		for _, r := range p.starting {
			for _, o := range p.ending {
				if (o.Config().Name == r.Config().Name) == sameName && !taken[o] && r.PlanTakeOver(o) {
					taken[o] = true
					break
				}
			}
		}
	}
}

// abandon stops the routes that were prepared.
func (p *plan) abandon() {
	for _, r := range p.starting {
		r.Stop()
	}
}

// commit carries out the plan, unless the host is ending or ctx has ended. If p.done is set, an error means that the plan was
// carried out but a route in it is down or has lost a socket.
func (h *Host) commit(ctx context.Context, p *plan, changes []config.RouteChange) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.mu.Lock()
	draining := h.draining
	h.mu.Unlock()
	if draining || ctx.Err() != nil {
		p.abandon()
		if draining {
			return errEnding
		}
		return fmt.Errorf("reload: %w", context.Cause(ctx))
	}
	p.done = true
	h.log.SetLevel(hclog.LevelFromString(string(p.config.Log.Level)))
	for _, warning := range p.config.Warnings {
		h.log.Warn(warning.String())
	}
	h.shared.Connections.SetLimits(h.connectionsAllowed(p.config), 0)
	errs := h.carryOut(ctx, p)
	h.mu.Lock()
	h.config, h.routes = p.config, p.routes
	h.earlier = append(h.earlier, h.codecs)
	h.codecs = p.codecs
	h.retired = append(h.retired, p.ending...)
	h.mu.Unlock()
	for _, r := range p.routes {
		r.Adopt(p.codecs)
	}
	for _, r := range p.ending {
		h.retiring.Go(func() { h.awaitRetired(r) })
	}
	h.closeUnused()
	h.logReload(changes)
	return errors.Join(errs...)
}

// carryOut takes over from the old routes, retires them, and starts the new routes. It returns what went wrong; a route that
// can't listen is stopped and taken out of p.
func (h *Host) carryOut(ctx context.Context, p *plan) []error {
	var errs []error
	for _, r := range p.starting {
		if err := r.TakeOver(); err != nil {
			errs = append(errs, fmt.Errorf("reload: %w", err))
		}
	}
	for _, r := range p.ending {
		r.Retire()
	}
	for _, r := range p.late {
		if err := r.Listen(ctx); err != nil {
			errs = append(errs, fmt.Errorf("reload: the route is down: %w", err))
			r.Stop()
			p.starting = slices.DeleteFunc(p.starting, func(s *route.Route) bool { return s == r })
			p.routes = slices.DeleteFunc(p.routes, func(s *route.Route) bool { return s == r })
		}
	}
	for _, r := range p.starting {
		r.Start()
	}
	return errs
}

// awaitRetired waits for the sessions of a route that a reload removed or replaced, and then stops it. Meanwhile the route uses a
// set of only its own codecs, so that it does not keep the plugins of other routes.
func (h *Host) awaitRetired(r *route.Route) {
	own := h.pool.Open(r.Codecs().Config())
	if err := own.ConfigureAll(h.life, plugins.KeysOf(own.Config(), r.Config())); err == nil {
		r.Adopt(own)
	}
	h.mu.Lock()
	h.earlier = append(h.earlier, own)
	h.mu.Unlock()
	h.closeUnused()
	r.Wait()
	r.Stop()
	h.mu.Lock()
	h.retired = slices.DeleteFunc(slices.Clone(h.retired), func(o *route.Route) bool { return o == r })
	h.past.addFinal(r)
	h.mu.Unlock()
	h.closeUnused()
}

// logReload logs a line for each route that a reload changed, removed or added, and a line with the counts.
func (h *Host) logReload(changes []config.RouteChange) {
	count := map[config.Change]int{}
	for _, c := range changes {
		count[c.Change]++
		switch c.Change {
		case config.Changed:
			values := make([]string, len(c.Values))
			for i, v := range c.Values {
				values[i] = v.String()
			}
			h.log.Info("route changed: its sessions go on as they began", "route", c.Name, "changes", strings.Join(values, "; "))
		case config.Removed:
			h.log.Info("route removed: it does not listen any more, and its sessions go on", "route", c.Name)
		case config.Added:
			h.log.Info("route added", "route", c.Name)
		}
	}
	h.log.Info("configuration reloaded", "added", count[config.Added], "changed", count[config.Changed],
		"removed", count[config.Removed], "unchanged", count[config.Unchanged])
}

// closeUnused closes the codecs of earlier configurations that no route uses any more.
func (h *Host) closeUnused() {
	var unused []*plugins.Set
	h.mu.Lock()
	h.earlier = slices.DeleteFunc(h.earlier, func(codecs *plugins.Set) bool {
		if codecs.Used() {
			return false
		}
		unused = append(unused, codecs)
		return true
	})
	h.mu.Unlock()
	for _, codecs := range unused { // without h.mu: Close waits for processes to end
		if err := codecs.Close(); err != nil {
			h.log.Warn("plugin did not end cleanly", "error", err)
		}
	}
}

// needsRestart returns an error if a change from from to to needs a restart.
func needsRestart(from, to *config.Settings) error {
	var changed []string
	for _, c := range from.RestartChanges(to) {
		changed = append(changed, c.String())
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("reload: nothing was changed, since this needs a restart: %s", strings.Join(changed, "; "))
}

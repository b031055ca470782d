package lan

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
	"github.com/framehost/framehost/host/loglimit"
)

// A Presence is what one route does on the LAN: it announces the listeners of the route, and finds the services that the route
// dials. Its methods are safe for concurrent use. A nil Presence is that of a route that does neither; all methods but Find may be called
// on it.
type Presence struct {
	lan        *LAN
	log        hclog.Logger
	announcers []*announcer
	resolvers  map[string]*discovery.Resolver // by service
}

// Join returns the Presence of r, which sends nothing before Run. bound returns the address where an endpoint listens, as HOST:PORT. Join
// returns nil if r neither announces anything nor looks for a service; only then may l be nil.
func (l *LAN) Join(r *config.Route, bound func(*config.Endpoint) string, log hclog.Logger) (*Presence, error) {
	if !uses(r) {
		return nil, nil
	}
	p := &Presence{lan: l, log: log, resolvers: map[string]*discovery.Resolver{}}
	for _, e := range r.Sides() {
		if e.Announce == nil {
			continue
		}
		a, err := l.announcer(e, bound(e))
		if err != nil {
			return nil, err
		}
		p.announcers = append(p.announcers, a)
	}
	for _, e := range r.Sides() {
		if !finds(e) || p.resolvers[e.Dial.Service] != nil {
			continue
		}
		resolver, err := p.resolver(e.Dial.Service)
		if err != nil {
			return nil, err
		}
		p.resolvers[e.Dial.Service] = resolver
	}
	return p, nil
}

// uses reports whether r announces itself or looks for a service.
func uses(r *config.Route) bool {
	return slices.ContainsFunc(r.Sides(), func(e *config.Endpoint) bool { return e.Announce != nil || finds(e) })
}

// finds reports whether e dials a service by name.
func finds(e *config.Endpoint) bool { return e.Dial != nil && e.Dial.Scheme == "discover" }

// resolver returns a resolver for service that ignores what the route itself announces.
func (p *Presence) resolver(service string) (*discovery.Resolver, error) {
	log := p.log.With("service", service)
	var changes [discovery.Expired + 1]loglimit.Limiter // by kind; peers cause them
	options := discovery.ResolverOptions{
		Service: service, Networks: []discovery.Network{discovery.NetworkTCP},
		Changed: func(c discovery.Change) {
			changes[c.Kind].LogWith(log.Info, "service "+c.Kind.String(), func() []any {
				f := &c.Found
				return []any{
					"addresses", strings.Join(texts(f.Addresses), ","), "network", f.Network, "codec", f.Codec,
					"interface", f.Origin.Interface, "signed", f.Signed, "id", f.ID,
				}
			})
		},
	}
	for _, a := range p.announcers {
		options.Ignore = append(options.Ignore, a.ID())
	}
	return discovery.NewResolver(p.lan.station, options)
}

// Run announces and looks for services until ctx ends, and then sends goodbyes. It returns at once: it passes each task to start, which
// must run it in a goroutine.
func (p *Presence) Run(ctx context.Context, start func(func())) {
	if p == nil {
		return
	}
	for _, a := range p.announcers {
		s := &a.options.Service
		p.log.Info("service announced", "service", s.Name, "network", s.Network, "port", s.Port, "id", a.ID())
		start(func() { a.Run(ctx) })
		if a.dnssd != nil {
			start(func() { a.dnssd.run(ctx, p.log) })
		}
	}
	for _, one := range p.resolvers {
		start(func() { one.Run(ctx) })
	}
}

// Find calls dial with addresses of service, which the route dials, until dial succeeds: with the best address first, and with each
// address once. The wait for the first address and all calls together may take as long as limit (0: no limit), or until ctx ends.
func (p *Presence) Find(ctx context.Context, service string, limit time.Duration, dial func(context.Context, netip.AddrPort) error) error {
	within := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
		defer cancel()
	}
	resolver := p.resolvers[service]
	var tried []netip.AddrPort
	var last error
	for {
		target, err := resolver.Next(within)
		switch {
		case last == nil && err != nil:
			return err
		case err != nil || within.Err() != nil || slices.Contains(tried, target.Address):
			return fmt.Errorf("of %d addresses none answered: %w", len(tried), last)
		}
		if err = dial(within, target.Address); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err // the route ends; the address may be good
		}
		resolver.Failed(target)
		tried, last = append(tried, target.Address), err
	}
}

// Announced returns the services that the route announces.
func (p *Presence) Announced() (all []control.AnnouncedStatus) {
	if p == nil {
		return nil
	}
	for _, a := range p.announcers {
		all = append(all, a.status())
	}
	return all
}

// Found returns the services that the route dials and has found, in the order of their names.
func (p *Presence) Found() (all []control.ServiceStatus) {
	if p == nil {
		return nil
	}
	for _, resolver := range p.resolvers {
		for _, f := range resolver.Browser().Services() {
			labels := f.Labels
			if labels == nil {
				labels = map[string]string{}
			}
			all = append(all, control.ServiceStatus{
				Service: f.Name, Network: f.Network.String(), Addresses: texts(f.Addresses), Codec: f.Codec, Labels: labels,
				ID: f.ID.String(), Interface: f.Origin.Interface, Signed: f.Signed, Expires: f.Expires,
			})
		}
	}
	slices.SortFunc(all, func(a, b control.ServiceStatus) int { return strings.Compare(a.Service+a.ID, b.Service+b.ID) })
	return all
}

func texts[A fmt.Stringer](addresses []A) []string {
	all := make([]string, len(addresses))
	for i, a := range addresses {
		all[i] = a.String()
	}
	return all
}

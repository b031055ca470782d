package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
	"github.com/framehost/framehost/host/endpoint"
)

// resolve prepares to look for service, which the route dials. It ignores services that the route itself announces.
func (r *route) resolve(service string) error {
	log := r.log.With("service", service)
	options := discovery.ResolverOptions{
		Service: service, Networks: []discovery.Network{discovery.NetworkTCP},
		Changed: func(c discovery.Change) {
			f := &c.Found
			log.Info("service "+c.Kind.String(), "addresses", strings.Join(addressTexts(f.Addresses), ","), "network", f.Network,
				"codec", f.Codec, "interface", f.Origin.Interface, "signed", f.Signed, "id", f.ID)
		},
	}
	for _, a := range r.announcers {
		options.Ignore = append(options.Ignore, a.ID())
	}
	resolver, err := discovery.NewResolver(r.host.lan.station, options)
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	r.resolvers[service] = resolver
	return nil
}

// dialService connects to the service of e, at the address that the resolver returns. If an attempt fails, dialService tries
// the next address, each address once. The wait for the first answer and all attempts together may take timeouts.connect: an
// address that does not answer may use up all of it, but then the next call tries another one.
func (r *route) dialService(ctx context.Context, e *config.Endpoint) (*endpoint.Conn, error) {
	within := ctx
	if limit := r.config.Timeouts.Connect; limit > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
		defer cancel()
	}
	resolver := r.resolvers[e.Dial.Service]
	var tried []netip.AddrPort
	var last error
	for {
		target, err := resolver.Next(within)
		switch {
		case last == nil && err != nil:
			return nil, fmt.Errorf("dial %s: %w", e.Dial, err)
		case err != nil || within.Err() != nil || slices.Contains(tried, target.Address):
			return nil, fmt.Errorf("dial %s: of %d addresses none answered: %w", e.Dial, len(tried), last)
		}
		address := endpoint.Address{Network: "tcp", Address: target.Address.String()}
		conn, err := endpoint.Dial(within, address, endpoint.DialOptions{Keepalive: r.keepalive()})
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		resolver.Failed(target)
		tried, last = append(tried, target.Address), err
	}
}

// services returns the services that the route dials and has found.
func (r *route) services() []control.ServiceStatus {
	var all []control.ServiceStatus
	for _, resolver := range r.resolvers {
		for _, f := range resolver.Browser().Services() {
			labels := f.Labels
			if labels == nil {
				labels = map[string]string{}
			}
			all = append(all, control.ServiceStatus{
				Service: f.Name, Network: f.Network.String(), Addresses: addressTexts(f.Addresses), Codec: f.Codec, Labels: labels,
				ID: f.ID.String(), Interface: f.Origin.Interface, Signed: f.Signed, Expires: f.Expires,
			})
		}
	}
	slices.SortFunc(all, func(a, b control.ServiceStatus) int { return strings.Compare(a.Service+a.ID, b.Service+b.ID) })
	return all
}

package host

import (
	"fmt"
	"net/netip"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
)

// An announcer announces one listener of a route on the LAN for as long as it listens.
type announcer struct {
	*discovery.Announcer
	options discovery.AnnouncerOptions
	dnssd   *dnssdService // nil: the listener is not announced by DNS-SD
}

// announcement returns the options for announcing e, which listens on port.
func announcement(e *config.Endpoint, port uint16) discovery.AnnouncerOptions {
	network := discovery.NetworkTCP
	if e.Datagrams() {
		network = discovery.NetworkUDP
	}
	return discovery.AnnouncerOptions{
		Service: discovery.Service{
			Name: e.Announce.Service, Network: network, Port: port, Codec: e.Codec, Labels: e.Announce.Labels,
		},
		Interval: e.Announce.Interval, TTL: e.Announce.TTL,
	}
}

// announce prepares to announce e, which listens at bound, on the LAN.
func (r *route) announce(e *config.Endpoint, bound string) error {
	at, err := netip.ParseAddrPort(bound)
	if err != nil {
		return fmt.Errorf("route %s: announce: %w", r.config.Name, err)
	}
	a := &announcer{options: announcement(e, at.Port())}
	a.options.Addresses = r.host.lan.addresses(at.Addr())
	if a.Announcer, err = discovery.NewAnnouncer(r.host.lan.station, a.options); err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	if e.Announce.DNSSD != "" {
		if a.dnssd, err = r.announceDNSSD(e, at); err != nil {
			return err
		}
	}
	r.announcers = append(r.announcers, a)
	return nil
}

// joinLAN prepares to announce the listeners of r and to find the services that it dials. bound returns as HOST:PORT where
// an endpoint listens. Nothing is sent before startLAN.
func (r *route) joinLAN(bound func(*config.Endpoint) string) error {
	for _, e := range r.config.Sides() {
		if e.Announce == nil {
			continue
		}
		if err := r.announce(e, bound(e)); err != nil {
			return err
		}
	}
	for _, e := range r.config.Sides() {
		if e.Dial == nil || e.Dial.Scheme != "discover" || r.resolvers[e.Dial.Service] != nil {
			continue
		}
		if err := r.resolve(e.Dial.Service); err != nil {
			return err
		}
	}
	return nil
}

// startLAN announces and looks for services until the route ends. Then it sends goodbyes; the route waits until they are
// sent.
func (r *route) startLAN() {
	for _, a := range r.announcers {
		s := &a.options.Service
		r.log.Info("service announced", "service", s.Name, "network", s.Network, "port", s.Port, "id", a.ID())
		r.work.Go(func() { a.Run(r.dials) })
		if a.dnssd != nil {
			r.work.Go(func() { a.dnssd.run(r.dials, r.log) })
		}
	}
	for _, one := range r.resolvers {
		r.work.Go(func() { one.Run(r.dials) })
	}
}

func (a *announcer) status() control.AnnouncedStatus {
	s, stats := &a.options.Service, a.Stats()
	return control.AnnouncedStatus{
		Service: s.Name, Network: s.Network.String(), Port: int(s.Port), Addresses: addressTexts(a.options.Addresses()),
		ID: a.ID().String(), Announced: stats.Announced, Queries: stats.Queries, Answers: stats.Answers,
		DNSSD: a.dnssd.instance(),
	}
}

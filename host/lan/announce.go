package lan

import (
	"fmt"
	"net/netip"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
)

// An announcer announces one listener of a route for as long as it listens.
type announcer struct {
	*discovery.Announcer
	options discovery.AnnouncerOptions
	dnssd   *dnssdService // nil: the listener is not announced by DNS-SD
}

// announcer returns an announcer of e, which listens at bound.
func (l *LAN) announcer(e *config.Endpoint, bound string) (*announcer, error) {
	at, err := netip.ParseAddrPort(bound)
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	network := discovery.NetworkTCP
	if e.Datagrams() {
		network = discovery.NetworkUDP
	}
	a := &announcer{options: discovery.AnnouncerOptions{
		Service: discovery.Service{
			Name: e.Announce.Service, Network: network, Port: at.Port(), Codec: e.Codec, Labels: e.Announce.Labels,
		},
		Interval: e.Announce.Interval, TTL: e.Announce.TTL, Addresses: l.addresses(at.Addr()),
	}}
	if a.Announcer, err = discovery.NewAnnouncer(l.station, a.options); err != nil {
		return nil, err
	}
	if e.Announce.DNSSD != "" {
		if a.dnssd, err = l.dnssdService(e, at); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *announcer) status() control.AnnouncedStatus {
	s, stats := &a.options.Service, a.Stats()
	return control.AnnouncedStatus{
		Service: s.Name, Network: s.Network.String(), Port: int(s.Port), Addresses: texts(a.options.Addresses()),
		ID: a.ID().String(), Announced: stats.Announced, Queries: stats.Queries, Answers: stats.Answers,
		DNSSD: a.dnssd.instance(),
	}
}

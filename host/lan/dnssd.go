package lan

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/discovery/dnssd"
	"github.com/framehost/framehost/host/loglimit"
	"github.com/framehost/framehost/host/netif"
)

// A dnssdResponder announces by DNS-SD for all routes, from the first route that needs it until the LAN is closed.
type dnssdResponder struct {
	*dnssd.Responder
	unfollow func() // stops following the interfaces
	end      context.CancelFunc
	ended    chan struct{}
}

func openDNSSD(d config.Discovery, interfaces *netif.Watcher, log hclog.Logger) *dnssdResponder {
	var failures, ignored loglimit.Limiter
	r := &dnssdResponder{
		Responder: dnssd.NewResponder(dnssd.Options{
			Interfaces: d.Interfaces,
			Failed: func(err error) {
				failures.Log(log.Warn, "DNS-SD is not working everywhere; it is tried again", "error", err)
			},
			Ignored: func(why string) { ignored.Log(log.Debug, "multicast DNS is ignored", "why", why) },
		}),
		ended: make(chan struct{}),
	}
	var life context.Context
	life, r.end = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		r.Run(life)
	}()
	r.unfollow = interfaces.Follow(func(all []netif.Interface) { r.SetInterfaces(dnssdInterfaces(all)) })
	return r
}

// close ends the responder. The routes have sent their goodbyes before.
func (r *dnssdResponder) close() {
	r.unfollow()
	r.end()
	<-r.ended
}

func dnssdInterfaces(all []netif.Interface) []dnssd.Interface {
	out := make([]dnssd.Interface, len(all))
	for i, n := range all {
		out[i] = dnssd.Interface{Name: n.Name, Index: n.Index, Up: n.Up, Loopback: n.Loopback, Multicast: n.Multicast}
		for _, a := range n.Addresses {
			out[i].Addresses = append(out[i].Addresses, a.Prefix)
		}
	}
	return out
}

// dnssdResponder returns the responder of l. The first call makes it.
func (l *LAN) dnssdResponder() *dnssdResponder {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dnssd == nil {
		l.dnssd = openDNSSD(l.settings, l.interfaces, l.log)
	}
	return l.dnssd
}

// A dnssdService is a listener of a route that is also announced by DNS-SD.
type dnssdService struct {
	responder *dnssdResponder
	service   *dnssd.Service
}

// dnssdService prepares to announce e, which listens at bound, by DNS-SD.
func (l *LAN) dnssdService(e *config.Endpoint, bound netip.AddrPort) (*dnssdService, error) {
	a := e.Announce
	s := &dnssd.Service{
		Type: a.DNSSD, Name: a.Service, Port: bound.Port(), Codec: e.Codec, Labels: a.Labels, IPv4Only: bound.Addr().Is4(),
	}
	if at := bound.Addr().Unmap().WithZone(""); isOwn(at) {
		s.Address = at
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	return &dnssdService{l.dnssdResponder(), s}, nil
}

// instance returns the DNS name of the service instance; "" if d is nil.
func (d *dnssdService) instance() string {
	if d == nil {
		return ""
	}
	return d.responder.Instance(d.service)
}

// run announces the service until ctx is done, then sends a goodbye.
func (d *dnssdService) run(ctx context.Context, log hclog.Logger) {
	log.Info("service announced by DNS-SD", "instance", d.instance(), "port", d.service.Port)
	if err := d.responder.Announce(ctx, d.service); err != nil {
		log.Error("service is not announced by DNS-SD", "error", err)
	}
}

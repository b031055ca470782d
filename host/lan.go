package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
	"github.com/framehost/framehost/host/endpoint"
)

// repeatPause is how long the same failure of discovery is not logged again.
const repeatPause = time.Minute

// A lan is the discovery socket and key that all routes of the host share to announce and find services. It exists from the
// first route that needs it until the host ends.
type lan struct {
	settings config.Discovery
	socket   *discovery.UDP
	station  *discovery.Station
	log      hclog.Logger
	unfollow func() // stops following the interfaces
	end      context.CancelFunc
	ended    chan struct{}

	mu       sync.Mutex
	dnssd    *dnssdResponder // nil: no route has needed it
	failure  string          // the last failure that was logged
	failedAt time.Time       // when it was logged
	ignored  map[error]bool  // reasons for ignoring a packet that were logged
}

// usesLAN reports whether a route of c announces itself or looks for a service.
func usesLAN(c *config.Config) bool {
	return slices.ContainsFunc(c.Routes, func(r config.Route) bool {
		return slices.ContainsFunc(r.Sides(), func(e *config.Endpoint) bool {
			return e.Announce != nil || e.Dial != nil && e.Dial.Scheme == "discover"
		})
	})
}

// openLAN opens the discovery socket and reads its key, if a route of c needs discovery and the host has not opened it yet.
func (h *Host) openLAN(ctx context.Context, c *config.Config) error {
	h.mu.Lock()
	there := h.lan != nil
	h.mu.Unlock()
	if there || !usesLAN(c) {
		return nil
	}
	interfaces, err := h.network.interfaces()
	if err != nil {
		return err
	}
	l, err := openLAN(ctx, c, interfaces, h.log.With("part", "discovery"))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lan = l
	return nil
}

// closeLAN closes the lan, if there is one. The routes that used it must have ended.
func (h *Host) closeLAN() {
	h.mu.Lock()
	l := h.lan
	h.lan = nil
	h.mu.Unlock()
	if l != nil {
		l.close()
	}
}

func openLAN(ctx context.Context, c *config.Config, interfaces *endpoint.Interfaces, log hclog.Logger) (*lan, error) {
	key, err := discoveryKey(c)
	if err != nil {
		return nil, err
	}
	d := c.Discovery
	l := &lan{settings: d, log: log, ended: make(chan struct{}), ignored: map[error]bool{}}
	socket, err := discovery.ListenUDP(ctx, discovery.UDPOptions{Port: uint16(d.Port), Interfaces: d.Interfaces, Changed: l.logChanged})
	if err != nil {
		return nil, config.Errors{c.Where("discovery.port").Error(err.Error(), "")}
	}
	l.socket = socket
	l.station, err = discovery.NewStation(socket, discovery.StationOptions{Key: key, Ignored: l.warnIgnored, Failed: l.warnFailed})
	if err != nil {
		return nil, errors.Join(config.Errors{c.Where("discovery").Error(err.Error(), "")}, socket.Close())
	}
	l.unfollow = interfaces.Follow(func([]endpoint.Interface) { socket.Refresh() })
	life, end := context.WithCancel(context.Background())
	l.end = end
	go func() {
		defer close(l.ended)
		if err := l.station.Run(life); err != nil {
			log.Error("discovery ended", "error", err)
		}
	}()
	return l, nil
}

func (l *lan) close() {
	l.mu.Lock()
	responder := l.dnssd
	l.mu.Unlock()
	if responder != nil {
		responder.close()
	}
	l.unfollow()
	l.end()
	<-l.ended
}

// discoveryKey returns the key in the key file; nil if c names no key file.
func discoveryKey(c *config.Config) ([]byte, error) {
	if c.Discovery.KeyFile == "" {
		return nil, nil
	}
	key, err := discovery.ReadKey(c.Discovery.KeyFile)
	if err != nil {
		return nil, config.Errors{c.Where("discovery.key_file").Error(err.Error(), "")}
	}
	return key, nil
}

// checkKey returns an error if a route of c uses discovery and the key file can't be used.
func checkKey(c *config.Config) error {
	if !usesLAN(c) {
		return nil
	}
	_, err := discoveryKey(c)
	return err
}

// warnIgnored warns once about unsigned and once about wrongly signed packets, because with a wrong key on either side a
// service just seems to be missing. Other ignored packets are normal, and only counted.
func (l *lan) warnIgnored(from discovery.Origin, err error) {
	for _, kind := range []error{discovery.ErrUnsigned, discovery.ErrForged} {
		if !errors.Is(err, kind) {
			continue
		}
		l.mu.Lock()
		warned := l.ignored[kind]
		l.ignored[kind] = true
		l.mu.Unlock()
		if !warned {
			l.log.Warn("packets are ignored; status counts them", "reason", kind, "from", from.Address, "interface", from.Interface)
		}
	}
}

// logChanged logs interfaces that come and go, as routes with datagrams do.
func (l *lan) logChanged(use discovery.Use, gone bool) {
	if gone {
		l.log.Warn("interface is gone, or its address", "interface", use.Interface, "no_more", use)
		return
	}
	l.log.Info("interface is there", "interface", use.Interface, "now", use)
}

// warnFailed warns that the socket failed. It logs the same error at most once in repeatPause.
func (l *lan) warnFailed(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	l.mu.Lock()
	again := text == l.failure && time.Since(l.failedAt) < repeatPause
	if !again {
		l.failure, l.failedAt = text, time.Now()
	}
	l.mu.Unlock()
	if !again {
		l.log.Warn("discovery is not working; it is tried again", "error", text)
	}
}

// addresses returns a function that returns the addresses to announce for a listener at bound: bound itself, or if bound is
// not a single address of this machine, all addresses of this machine on the LAN.
func (l *lan) addresses(bound netip.Addr) func() []netip.Addr {
	if bound = bound.Unmap().WithZone(""); !isOwn(bound) {
		return l.socket.Addresses
	}
	return func() []netip.Addr { return []netip.Addr{bound} }
}

// isOwn reports whether a is an address of this machine. It is not if a is unspecified, a broadcast address, or a multicast
// group, at which a UDP listener may listen.
func isOwn(a netip.Addr) bool {
	if a.IsLoopback() {
		return a != netip.AddrFrom4([4]byte{127, 255, 255, 255})
	}
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(one net.Addr) bool {
		n, ok := one.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}

func (l *lan) status() *control.DiscoveryStatus {
	if l == nil {
		return nil
	}
	s := l.station.Stats()
	return &control.DiscoveryStatus{
		Port: l.settings.Port, Interfaces: append([]string{}, l.settings.Interfaces...), Signed: l.settings.KeyFile != "",
		Sent: s.Sent, SendFailed: s.SendFailed, Received: s.Received,
		Malformed: s.Malformed, OtherVersions: s.OtherVersions, Unsigned: s.Unsigned, Forged: s.Forged, OffLink: l.socket.OffLink(),
	}
}

func addressTexts[A fmt.Stringer](addresses []A) []string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return texts
}

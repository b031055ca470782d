// Package lan announces the listeners of routes on the LAN and finds the services that routes dial, by the protocol of package
// discovery. It announces by DNS-SD too where the configuration asks for it.
//
// A host has one [LAN], with the discovery socket and key. Each route that announces or finds anything has a [Presence] there.
package lan

import (
	"context"
	"errors"
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
	"github.com/framehost/framehost/host/netif"
)

// repeatPause is how long the same failure of discovery is not logged again.
const repeatPause = time.Minute

// A LAN announces and finds services for all routes of a host. It has the discovery socket, the key, and the DNS-SD responder. Its
// methods are safe for concurrent use. Status, and Join of a route that needs no LAN, may be called on nil.
type LAN struct {
	settings   config.Discovery
	interfaces *netif.Watcher
	socket     *discovery.UDP
	station    *discovery.Station
	log        hclog.Logger
	unfollow   func() // stops following the interfaces
	end        context.CancelFunc
	ended      chan struct{}

	mu       sync.Mutex
	dnssd    *dnssdResponder // nil: no route has needed it
	failure  string          // the last failure that was logged
	failedAt time.Time       // when it was logged
	ignored  map[error]bool  // reasons for ignoring a packet that were logged
}

// Uses reports whether a route of c announces itself or looks for a service.
func Uses(c *config.Config) bool {
	return slices.ContainsFunc(c.Routes, func(r config.Route) bool { return uses(&r) })
}

// Open opens the discovery socket and reads the key, as c configures both. interfaces must be followed until Close.
func Open(ctx context.Context, c *config.Config, interfaces *netif.Watcher, log hclog.Logger) (*LAN, error) {
	key, err := discoveryKey(ctx, c)
	if err != nil {
		return nil, err
	}
	d := c.Discovery
	l := &LAN{settings: d, log: log, interfaces: interfaces, ended: make(chan struct{}), ignored: map[error]bool{}}
	socket, err := discovery.ListenUDP(ctx, discovery.UDPOptions{Port: uint16(d.Port), Interfaces: d.Interfaces, Changed: l.logChanged})
	if err != nil {
		return nil, config.Errors{c.Where("discovery.port").Error(err.Error(), "")}
	}
	l.socket = socket
	l.station, err = discovery.NewStation(socket, discovery.StationOptions{Key: key, Ignored: l.warnIgnored, Failed: l.warnFailed})
	if err != nil {
		return nil, errors.Join(config.Errors{c.Where("discovery").Error(err.Error(), "")}, socket.Close())
	}
	l.unfollow = interfaces.Follow(func([]netif.Interface) { socket.Refresh() })
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

// Close closes the socket. The routes must have ended: they send goodbyes until then.
func (l *LAN) Close() {
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
func discoveryKey(ctx context.Context, c *config.Config) ([]byte, error) {
	if c.Discovery.KeyFile == "" {
		return nil, nil
	}
	key, err := discovery.ReadKey(ctx, c.Discovery.KeyFile)
	if err != nil {
		return nil, config.Errors{c.Where("discovery.key_file").Error(err.Error(), "")}
	}
	return key, nil
}

// CheckKey returns an error if a route of c uses discovery and the key file can't be used.
func CheckKey(ctx context.Context, c *config.Config) error {
	if !Uses(c) {
		return nil
	}
	_, err := discoveryKey(ctx, c)
	return err
}

// warnIgnored warns once about unsigned and once about wrongly signed packets, because with a wrong key on either side a
// service just seems to be missing. Other ignored packets are normal, and only counted.
func (l *LAN) warnIgnored(from discovery.Origin, err error) {
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
func (l *LAN) logChanged(use discovery.Use, gone bool) {
	if gone {
		l.log.Warn("interface is gone, or its address", "interface", use.Interface, "no_more", use)
		return
	}
	l.log.Info("interface is there", "interface", use.Interface, "now", use)
}

// warnFailed warns that the socket failed. It logs the same error at most once in repeatPause.
func (l *LAN) warnFailed(err error) {
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
func (l *LAN) addresses(bound netip.Addr) func() []netip.Addr {
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

// Status returns the state of the discovery socket; nil if l is nil.
func (l *LAN) Status() *control.DiscoveryStatus {
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

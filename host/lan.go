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
	"github.com/framehost/framehost/host/discovery"
	"github.com/framehost/framehost/host/endpoint"
)

// troublePause is how long a trouble that goes on is not told again.
const troublePause = time.Minute

// A lan is the host's part in discovery: the one socket and key that its routes announce and find services with. There is
// one from when a route first needs it until the host ends.
type lan struct {
	settings config.Discovery
	socket   *discovery.UDP
	station  *discovery.Station
	log      hclog.Logger
	unfollow func() // ends following the interfaces
	end      context.CancelFunc
	ended    chan struct{}

	mu       sync.Mutex
	dnssd    *dnssdResponder // nil: no route has needed it
	trouble  string          // that was told last
	troubled time.Time       // when
	ignored  map[error]bool
}

// usesLAN reports whether a route of c announces itself or looks for a service.
func usesLAN(c *config.Config) bool {
	return slices.ContainsFunc(c.Routes, func(r config.Route) bool {
		return slices.ContainsFunc(r.Sides(), func(e *config.Endpoint) bool {
			return e.Announce != nil || e.Dial != nil && e.Dial.Scheme == "discover"
		})
	})
}

// openLAN opens discovery's socket and reads its key, if c needs that and it is not there.
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

// closeLAN closes it when whoever used it has ended.
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
	socket, err := discovery.ListenUDP(ctx, discovery.UDPOptions{Port: uint16(d.Port), Interfaces: d.Interfaces, Changed: l.tellChanged})
	if err != nil {
		return nil, config.Errors{c.Where("discovery.port").Error(err.Error(), "")}
	}
	l.socket = socket
	l.station, err = discovery.NewStation(socket, discovery.StationOptions{Key: key, Ignored: l.tellIgnored, Failed: l.tellFailed})
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

// discoveryKey returns what the key file holds; nil if there is none.
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

// checkKey reports what is wrong with the key file of discovery, if a route of c uses it.
func checkKey(c *config.Config) error {
	if !usesLAN(c) {
		return nil
	}
	_, err := discoveryKey(c)
	return err
}

// tellIgnored warns once of packets that are ignored for want of the right signature: a key that is wrong somewhere looks
// like a service that is not there. What else is ignored is ordinary, and counted.
func (l *lan) tellIgnored(from discovery.Origin, err error) {
	for _, kind := range []error{discovery.ErrUnsigned, discovery.ErrForged} {
		if !errors.Is(err, kind) {
			continue
		}
		l.mu.Lock()
		told := l.ignored[kind]
		l.ignored[kind] = true
		l.mu.Unlock()
		if !told {
			l.log.Warn("packets are ignored; status counts them", "reason", kind, "from", from.Address, "interface", from.Interface)
		}
	}
}

// tellChanged tells of interfaces that come and go, as routes with datagrams do.
func (l *lan) tellChanged(use discovery.Use, gone bool) {
	if gone {
		l.log.Warn("interface is gone, or its address", "interface", use.Interface, "no_more", use)
		return
	}
	l.log.Info("interface is there", "interface", use.Interface, "now", use)
}

// tellFailed warns of what went wrong with the socket, not again and again while it goes on.
func (l *lan) tellFailed(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	l.mu.Lock()
	again := text == l.trouble && time.Since(l.troubled) < troublePause
	if !again {
		l.trouble, l.troubled = text, time.Now()
	}
	l.mu.Unlock()
	if !again {
		l.log.Warn("discovery is not working; it is tried again", "error", text)
	}
}

// addresses returns what finds the addresses to announce of a listener: its own, or for one that takes all, those of this
// machine on the LAN.
func (l *lan) addresses(bound netip.Addr) func() []netip.Addr {
	if bound = bound.Unmap().WithZone(""); !isOwn(bound) {
		return l.socket.Addresses
	}
	return func() []netip.Addr { return []netip.Addr{bound} }
}

// isOwn reports whether a is the address of one host, this one: a UDP listener may have that of a broadcast, or a group.
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

// DiscoveryStatus is discovery's socket and what it has carried.
type DiscoveryStatus struct {
	Port       int      `json:"port"`
	Interfaces []string `json:"interfaces"` // as configured; none: all
	Signed     bool     `json:"signed"`     // there is a key
	Sent       int64    `json:"sent"`
	SendFailed int64    `json:"send_failed"` // of Sent, on at least one interface
	Received   int64    `json:"received"`    // with what was ignored
	// Ignored packets, by reason.
	Malformed     int64 `json:"malformed"`
	OtherVersions int64 `json:"other_versions"`
	Unsigned      int64 `json:"unsigned"`
	Forged        int64 `json:"forged"`
	OffLink       int64 `json:"off_link"` // not received: from beyond the networks of the interfaces
}

func (l *lan) status() *DiscoveryStatus {
	if l == nil {
		return nil
	}
	s := l.station.Stats()
	return &DiscoveryStatus{
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

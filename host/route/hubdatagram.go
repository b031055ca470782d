package route

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/netif"
	"github.com/framehost/framehost/host/relay"
)

// reopenAfter is the pause before a failed datagram side is opened again.
const reopenAfter = time.Second

// A datagramSide is one member of a hub that receives datagrams, sends them, or both. If a route listens on a port and sends
// broadcast or multicast to the same port of the same interfaces, both endpoints are one datagramSide: the hub does not send
// there what it received there, and recognizes what it sent when another host relays it back. Such a side receives only
// what comes to the port that it listens on.
type datagramSide struct {
	owner   atomic.Pointer[hub] // the hub that has the side now
	from    side                // the side of the old hub that will replace this one; nil: none
	begun   atomic.Bool
	listens *config.Endpoint // nil: the side only dials
	dials   *config.Endpoint // nil: the side only listens

	mu      sync.Mutex
	address string // where it listens, as configured, but with the real port instead of port 0
	sockets *sockets
	member  *relay.Member // nil: it has not joined yet
	retired bool
}

// placeOf returns the side in places whose listener hears what e sends; nil if there is none.
func (h *hub) placeOf(e *config.Endpoint, places []*datagramSide) (*datagramSide, error) {
	for _, p := range places {
		switch {
		case p.dials != nil || !h.onePlace(p.listens, e):
			continue
		case p.listens.Codec != e.Codec:
			return nil, config.Errors{e.At.Error(fmt.Sprintf("codec %s for sending to a port, and codec %s for listening on it",
				e.Codec, p.listens.Codec), "one codec for both")}
		}
		return p, nil
	}
	return nil, nil
}

// onePlace reports whether a socket that listens at listens can receive what is sent to dials.
func (h *hub) onePlace(listens, dials *config.Endpoint) bool {
	a, b := listens.Listen, dials.Dial
	if a.Port != b.Port || !sameStrings(listens.UDP.Interfaces, dials.UDP.Interfaces) {
		return false
	}
	ip, err := netip.ParseAddr(b.Host)
	switch {
	case a.Host == b.Host && b.Host != "*":
		return err == nil && (ip.IsMulticast() || h.isBroadcast(ip))
	case !slices.Contains([]string{"", "*", "0.0.0.0", "::"}, a.Host):
		return false
	case b.Host == "*":
		return true
	case err != nil:
		return false
	case ip.IsMulticast():
		return slices.Contains(listens.UDP.Groups, ip)
	}
	return h.isBroadcast(ip)
}

// isBroadcast reports whether ip is the limited broadcast address, or that of any network of this machine.
func (h *hub) isBroadcast(ip netip.Addr) bool {
	if ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	interfaces, err := h.route.shared.Interfaces.Watcher()
	if err != nil {
		return false // the same error is reported when the endpoint is opened
	}
	return slices.ContainsFunc(interfaces.List(), func(i netif.Interface) bool {
		return slices.ContainsFunc(i.Addresses, func(a netif.Address) bool { return a.Broadcast == ip })
	})
}

func sameStrings(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func newDatagramSide(h *hub, listens, dials *config.Endpoint) *datagramSide {
	s := &datagramSide{listens: listens, dials: dials}
	s.owner.Store(h)
	return s
}

func (s *datagramSide) hub() *hub { return s.owner.Load() }

// same reports whether s receives and sends at the same addresses as the other side will, with the same settings and codec.
func (s *datagramSide) same(o side) bool {
	other, ok := o.(*datagramSide)
	if !ok || !sameOrNone(s.listens, other.listens) || !sameOrNone(s.dials, other.dials) {
		return false
	}
	a, b := s.hub().route, other.hub().route
	return a.config.OnViolation == b.config.OnViolation && sameCodec(a, b, cmp.Or(s.dials, s.listens).Codec)
}

func sameOrNone(a, b *config.Endpoint) bool {
	return a == nil && b == nil || a != nil && b != nil && config.SameEndpoint(a, b)
}

// passTo makes s a side of h. Its sockets and the frames that wait to be sent go with it.
func (s *datagramSide) passTo(h *hub, o side) side {
	s.owner.Store(h)
	return passedSide{s, o.(*datagramSide).listens}
}

// A passedSide is a side of an earlier configuration, with its endpoint in the present one.
type passedSide struct {
	*datagramSide
	knownAs *config.Endpoint
}

func (s passedSide) listening() (*config.Endpoint, endpoint.Address) {
	_, address := s.datagramSide.listening()
	return s.knownAs, address
}

func (s *datagramSide) open(ctx context.Context) error {
	r := s.hub().route
	sockets := newSockets(r, socketBatch)
	if s.listens != nil {
		in, err := r.listenDatagrams(ctx, s.listens, cmp.Or(s.address, s.listens.Listen.HostPort()), false)
		if err != nil {
			_ = sockets.Close()
			return err
		}
		sockets.in = in
		sockets.admission = endpoint.Admission{Allow: s.listens.Allow, Deny: s.listens.Deny}
	}
	if s.dials != nil {
		out, err := r.dialDatagrams(ctx, s.dials)
		if err != nil {
			_ = sockets.Close()
			return err
		}
		sockets.out = out
		sockets.in = cmp.Or(sockets.in, out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets != nil {
		_ = s.sockets.Close() // of a member that failed before it ran
	}
	s.sockets = sockets
	if s.listens != nil {
		s.address = withPort(s.listens.Listen, sockets.in.Addr().Port())
	}
	return nil
}

func (s *datagramSide) prepare() error { return nil }

func (s *datagramSide) away() *control.MemberStatus { return nil }

func (s *datagramSide) start() {
	s.begun.Store(true)
	s.hub().route.work.Go(s.run)
}

func (s *datagramSide) started() bool { return s.begun.Load() }

// run takes part in the hub until the route stops dialing. When the member fails, run opens the sockets again.
func (s *datagramSide) run() {
	for {
		err := s.join()
		r := s.hub().route
		if r.dials.Err() != nil {
			s.close()
			return
		}
		for {
			r.log.Error("datagrams are neither received nor sent", "endpoint", s.describe(), "error", err, "again_in", reopenAfter)
			if !pause(r.dials, reopenAfter) && s.hub().route == r {
				return
			}
			r = s.hub().route
			if err = s.open(r.dials); err == nil {
				break
			}
		}
	}
}

// join takes part in the hub once, and returns why it ended.
func (s *datagramSide) join() error {
	r := s.hub().route
	e := cmp.Or(s.dials, s.listens)
	m := s.hub().newMember(s.describe(), e.Codec)
	defer m.release()
	m.log = r.log.With("member", m.id)
	var codec codeccall.Codec
	if e.Codec != config.NoCodec {
		var err error
		if codec, err = r.tappedCodec(r.ctx, m.log, e.Codec); err != nil {
			return err
		}
	}
	c := relay.DatagramMember{MemberConfig: s.hub().memberConfig(m, e, codec), Datagrams: s.sockets, Answers: s.listens == nil}
	switch {
	case s.dials == nil:
		c.Use = relay.ReceiveOnly
	case s.listens != nil:
		c.Use, c.Echo = relay.Both, s.dials.Echo || s.listens.Echo
	}
	m.reports = r.memberReporter(m.log, m.id, "", m.codec, true)
	c.Violation = m.reports.violation
	joined, err := s.hub().Datagrams(c)
	if err != nil {
		return err
	}
	m.Member = joined
	s.mu.Lock()
	s.member = joined
	retired := s.retired
	s.mu.Unlock()
	if retired {
		joined.End(relay.Drained)
	}
	return s.hub().run(m).Err
}

func (s *datagramSide) halt() {}

// retire ends the member, which closes the sockets.
func (s *datagramSide) retire() {
	s.mu.Lock()
	s.retired = true
	member := s.member
	s.mu.Unlock()
	if member != nil {
		member.End(relay.Drained)
	}
}

func (s *datagramSide) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets != nil {
		_ = s.sockets.Close()
	}
}

func (s *datagramSide) listening() (*config.Endpoint, endpoint.Address) {
	if s.listens == nil {
		return nil, endpoint.Address{}
	}
	if s.from != nil {
		_, address := s.from.listening()
		return s.listens, address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listens, endpoint.Address{Network: "udp", Address: s.sockets.in.Addr().String()}
}

func (s *datagramSide) kernel() *control.DatagramStatus {
	s.mu.Lock()
	sockets := s.sockets
	s.mu.Unlock()
	return sockets.status(s.describe())
}

func (s *datagramSide) describe() string {
	switch listens, address := s.listening(); {
	case s.dials == nil:
		return "listen " + address.String()
	case listens == nil:
		return describe(s.dials)
	default:
		return "listen " + address.String() + ", " + describe(s.dials)
	}
}

package discovery

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A lan is a network in memory. A packet that a host sends reaches every host, including itself, once for each address of the
// sender.
type lan struct {
	mu    sync.Mutex
	hosts []*host
	log   []sent // all packets sent
}

type sent struct {
	packet []byte
	from   netip.Addr
	at     time.Time
}

// kindsOf returns the packets of one kind that were sent.
func (l *lan) kindsOf(k kind) (all []sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.log {
		if kind(s.packet[4]) == k {
			all = append(all, s)
		}
	}
	return all
}

// send delivers a packet from an address that need not be a host's. The packet is not logged.
func (l *lan) send(packet []byte, from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver(packet, from)
}

func (l *lan) deliver(packet []byte, from netip.Addr) {
	for _, h := range l.hosts {
		if !h.unplugged {
			h.inbox <- heardPacket{slices.Clone(packet), Origin{netip.AddrPortFrom(from, DefaultPort), "lan0"}}
		}
	}
}

// A host is a Transport.
type host struct {
	lan       *lan
	addresses []netip.Addr
	inbox     chan heardPacket
	closed    chan struct{}
	once      sync.Once
	unplugged bool
}

type heardPacket struct {
	packet []byte
	from   Origin
}

func (l *lan) host(addresses ...string) *host {
	h := &host{lan: l, inbox: make(chan heardPacket, 1<<16), closed: make(chan struct{})}
	for _, a := range addresses {
		h.addresses = append(h.addresses, netip.MustParseAddr(a))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = append(l.hosts, h)
	return h
}

// unplug disconnects the host if out, or else connects it again.
func (h *host) unplug(out bool) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	h.unplugged = out
}

// move replaces the host's addresses.
func (h *host) move(addresses ...string) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	h.addresses = nil
	for _, a := range addresses {
		h.addresses = append(h.addresses, netip.MustParseAddr(a))
	}
}

func (h *host) Send(packet []byte) error {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	if h.unplugged {
		return ErrNoInterface
	}
	for _, a := range h.addresses {
		h.lan.log = append(h.lan.log, sent{slices.Clone(packet), a, time.Now()})
		h.lan.deliver(packet, a)
	}
	return nil
}

func (h *host) Receive(buf []byte) (int, Origin, error) {
	select {
	case p := <-h.inbox:
		return copy(buf, p.packet), p.from, nil
	case <-h.closed:
		return 0, Origin{}, net.ErrClosed
	}
}

func (h *host) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// A crew runs stations, announcers and browsers on a LAN during a test, and ends them with the test.
type crew struct {
	*testing.T
	lan   lan
	tasks sync.WaitGroup
	ctx   context.Context
}

// onLAN runs test in a bubble with a LAN of its own.
func onLAN(t *testing.T, test func(c *crew)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &crew{T: t, ctx: ctx}
		test(c)
		cancel()
		c.tasks.Wait()
	})
}

// start calls run in a goroutine. Its ctx is done when stop is called or the test ends.
func (c *crew) start(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	ended := make(chan struct{})
	c.tasks.Go(func() { run(ctx); close(ended) })
	return func() { cancel(); <-ended }
}

func (c *crew) station(h *host, options StationOptions) *Station {
	c.Helper()
	s, err := NewStation(h, options)
	if err != nil {
		c.Fatal(err)
	}
	c.start(func(ctx context.Context) {
		if err := s.Run(ctx); err != nil {
			c.Error(err)
		}
	})
	return s
}

// announcer starts an Announcer on s. The service's port is 7001 unless options set it.
func (c *crew) announcer(s *Station, options AnnouncerOptions) (a *Announcer, stop func()) {
	c.Helper()
	if options.Service.Port == 0 {
		options.Service.Port = 7001
	}
	a, err := NewAnnouncer(s, options)
	if err != nil {
		c.Fatal(err)
	}
	return a, c.start(a.Run)
}

func scales() AnnouncerOptions { return AnnouncerOptions{Service: Service{Name: "scales"}} }

// A changeLog records the changes that a Browser reports.
type changeLog struct {
	mu      sync.Mutex
	changes []Change
}

func (d *changeLog) note(c Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = append(d.changes, c)
}

// kinds returns the kinds of the changes since the last call.
func (d *changeLog) kinds() []ChangeKind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var kinds []ChangeKind
	for _, c := range d.changes {
		kinds = append(kinds, c.Kind)
	}
	d.changes = nil
	return kinds
}

func (c *crew) browser(s *Station, options BrowserOptions) (*Browser, *changeLog) {
	c.Helper()
	d := &changeLog{}
	if options.Changed == nil {
		options.Changed = d.note
	}
	b, err := NewBrowser(s, options)
	if err != nil {
		c.Fatal(err)
	}
	c.start(b.Run)
	synctest.Wait() // until the Browser receives packets
	return b, d
}

// pass waits for d, and then until all goroutines are idle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantChanges fails the test unless the changes recorded since the last call are of these kinds.
func (c *crew) wantChanges(d *changeLog, want ...ChangeKind) {
	c.Helper()
	if got := d.kinds(); !slices.Equal(got, want) {
		c.Errorf("got %v, want %v", got, want)
	}
}

func testKey(b byte) []byte { return slices.Repeat([]byte{b}, 32) }

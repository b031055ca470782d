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

// A lan is a network in memory. What a host sends on one of its addresses reaches every host, itself too, once.
type lan struct {
	mu    sync.Mutex
	hosts []*host
	log   []sent // everything that was sent
}

type sent struct {
	packet []byte
	from   netip.Addr
	at     time.Time
}

// kindsOf returns the messages of a kind that were sent.
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

// say puts a packet on the network that none of its hosts sends.
func (l *lan) say(packet []byte, from netip.Addr) {
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

// unplug has the host neither heard nor hearing.
func (h *host) unplug(out bool) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	h.unplugged = out
}

// move gives the host other addresses.
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

// A crew is what runs on a LAN during a test. It ends with the test's bubble.
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

// start runs something until stop is called, or the test ends.
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

// announcer announces a service of that name, with short times unless options say otherwise.
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

// A diary is what a Browser told.
type diary struct {
	mu      sync.Mutex
	changes []Change
}

func (d *diary) note(c Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = append(d.changes, c)
}

// kinds returns what was told since the last call.
func (d *diary) kinds() []ChangeKind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var kinds []ChangeKind
	for _, c := range d.changes {
		kinds = append(kinds, c.Kind)
	}
	d.changes = nil
	return kinds
}

func (c *crew) browser(s *Station, options BrowserOptions) (*Browser, *diary) {
	c.Helper()
	d := &diary{}
	if options.Changed == nil {
		options.Changed = d.note
	}
	b, err := NewBrowser(s, options)
	if err != nil {
		c.Fatal(err)
	}
	c.start(b.Run)
	synctest.Wait() // it listens
	return b, d
}

// pass lets time pass, and everything that is to happen in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantTold reports what a Browser told since the last call if that is not what was wanted.
func (c *crew) wantTold(d *diary, want ...ChangeKind) {
	c.Helper()
	if got := d.kinds(); !slices.Equal(got, want) {
		c.Errorf("got %v, want %v", got, want)
	}
}

func testKey(b byte) []byte { return slices.Repeat([]byte{b}, 32) }

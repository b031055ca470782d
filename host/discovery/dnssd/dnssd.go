// Package dnssd announces services by DNS-SD over multicast DNS (RFC 6763, RFC 6762), for programs on the LAN that don't
// understand the packets of package discovery: avahi-browse, Bonjour, chart plotters, label printers.
//
//	_nmea-0183._tcp.local.  PTR   nmea-boat-10110._nmea-0183._tcp.local.  SRV  10110, nmea-boat-10110.local.
//	                                                                      TXT  codec=nmea mmsi=211234560
//	                              nmea-boat-10110.local.                  A    192.0.2.7
//
// A [Responder] multicasts these records when a service begins, a second later, and when interfaces change. It answers
// queries, and multicasts a goodbye when the service ends. A program that misses the goodbye drops the records after two
// minutes.
//
// # Names
//
// An instance is called SERVICE-HOST-PORT, where HOST is this machine's name up to the first dot. The instance's addresses
// belong to a host name of its own, SERVICE-HOST-PORT.local. So all services of one machine, even of several processes,
// have different names, and the machine's own host name is left to the program that answers for it, such as Avahi. Names
// are not probed before use: if machines of the same name announce the same service on the same port, they appear as one.
//
// # Limits of the library
//
// hashicorp/mdns makes the records and answers the queries. This package adds what the library lacks:
//
//   - The library sends no announcements or goodbyes. This package does.
//   - A server of the library receives queries from one interface. On Linux it receives them from all interfaces on which
//     any program has joined the group. So there is one server for each interface. On Linux there is one server in all, and
//     this package joins the group on each chosen interface. There the server also answers queries on an interface that was
//     not chosen, if another program has joined the group on it.
//   - The library sends its answer to the source address of the query, even if it is forged. To limit abuse, at most
//     [MaxAnswers] questions a second are answered in all. A flood of queries can suppress answers, but not announcements.
//   - The library answers by unicast, not to the group, and with the identifier 0. Avahi and the library's own client accept
//     that; programs that compare identifiers, such as dig, don't. Known-answer suppression is missing.
//   - The library compares names case-sensitively, looks names up in the DNS if it is given no addresses, and prints each
//     packet that it does not understand with the standard logger. This package prevents all three.
//   - The library does not say why it could not listen. This package finds out, and tries again.
//   - The library's goroutines end when its sockets are closed, but Close does not wait for them. A goroutine that has an
//     answer ready may still send it.
//
// The package listens only while a service is announced. If another responder, such as Avahi, uses the port too, both work,
// though Avahi logs a warning.
//
// All addresses of the chosen interfaces are announced on each of them. If their networks can't reach each other, choose one
// interface. Link-local IPv6 addresses are left out, because a record can't say which link is meant.
package dnssd

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// MaxAnswers is how many questions a Responder answers per second, from all sources together.
	MaxAnswers = 20

	// announcements is how many times a service is announced when it begins or when interfaces change, and announceAgain is
	// the time between two of them (RFC 6762, section 8.3).
	announcements = 2
	announceAgain = time.Second

	// openAgain is how long a Responder waits after it failed to listen, unless interfaces change.
	openAgain = time.Minute
)

// ErrNoInterface means that no chosen interface is up, can multicast, and has an address.
var ErrNoInterface = errors.New("no interface that can multicast")

// Options are ready as their zero value.
type Options struct {
	// Interfaces are names of interfaces, their addresses, or networks of such addresses: eth0, 192.0.2.5, 192.0.2.0/24.
	// One that does not exist is used once it appears. If an interface is chosen by address or network, only its matching
	// addresses are announced. Empty: every interface that is up and can multicast, except loopback.
	Interfaces []string
	// Host is the name of this machine, used up to the first dot; "": the system's host name.
	Host string
	// Failed, unless nil, is called when listening or sending fails. The Responder tries to listen again. Failed may be
	// called by several goroutines at the same time.
	Failed func(error)
	// Ignored, unless nil, is called with the reason when a packet is not understood. That is normal: any program on the LAN
	// may send such packets. Ignored may be called by several goroutines at the same time.
	Ignored func(why string)
}

// A Responder announces services and answers queries for them. It is safe for concurrent use.
type Responder struct {
	options Options
	host    string
	zone    zone

	mu      sync.Mutex
	all     []Interface   // all interfaces of the machine
	used    []used        // the interfaces that the Responder listens on; empty while listening fails
	changed chan struct{} // closed and replaced when used changes
	wake    chan struct{} // wakes Run: all has changed, or the first service came, or the last one went
}

// NewResponder returns a Responder that has no interface yet; see [Responder.SetInterfaces].
func NewResponder(options Options) *Responder {
	if options.Failed == nil {
		options.Failed = func(error) {}
	}
	if options.Ignored == nil {
		options.Ignored = func(string) {}
	}
	return &Responder{
		options: options, host: hostLabel(options.Host), changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// SetInterfaces sets the interfaces that the machine has now. It does not block. The caller must not change all afterwards.
func (r *Responder) SetInterfaces(all []Interface) {
	r.mu.Lock()
	r.all = all
	r.mu.Unlock()
	r.signal()
}

// signal wakes Run.
func (r *Responder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run listens on the chosen interfaces while a service is announced, until ctx is done. End ctx only after all calls of
// Announce have returned; otherwise no goodbyes are sent. Run may be called once.
func (r *Responder) Run(ctx context.Context) {
	var listening []io.Closer
	stop := func() {
		for _, c := range listening {
			_ = c.Close()
		}
		listening = nil
	}
	defer stop()
	again := time.NewTimer(openAgain)
	defer again.Stop()
	for failed := true; ; { // true, so that the first pass listens
		select {
		case <-ctx.Done():
			r.use(nil)
			return
		case <-r.wake:
		case <-again.C:
		}
		again.Reset(openAgain)
		chosen, now := r.choose()
		switch {
		case r.zone.empty():
			stop()
			r.use(nil)
			failed = true // so that Run listens again for the next service
			continue
		case !failed && same(chosen, now):
			continue
		}
		// Reopen all sockets: an open one can't show whether it still receives.
		stop()
		var err error
		listening, err = listen(chosen, r.allInterfaces(), &r.zone, logger(r.options.Ignored))
		failed = err != nil && !errors.Is(err, ErrNoInterface) // after ErrNoInterface, only a change of interfaces helps
		if err != nil {
			r.options.Failed(err)
		}
		if len(listening) == 0 {
			chosen = nil
		}
		r.use(chosen)
	}
}

func (r *Responder) allInterfaces() []Interface {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// choose returns the interfaces that Run should use, and those that it uses now.
func (r *Responder) choose() (chosen, now []used) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return choose(r.all, r.options.Interfaces), r.used
}

// use records that interfaces are used, and announces all services on them.
func (r *Responder) use(interfaces []used) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = interfaces
	r.zone.setInterfaces(interfaces)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Announce announces s and answers queries for it until ctx is done. Then it sends a goodbye and returns nil. If s is
// invalid, Announce returns an error at once.
func (r *Responder) Announce(ctx context.Context, s *Service) error {
	if err := s.Check(); err != nil {
		return err
	}
	e := &entry{service: s, label: s.label(r.host)}
	r.mu.Lock()
	r.zone.add(e, r.used)
	r.mu.Unlock()
	r.signal()
	defer func() {
		r.send(r.zone.remove(e), 0)
		r.signal()
	}()
	again := time.NewTimer(0)
	defer again.Stop()
	changed := r.change()
	for said := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			changed, said = r.change(), 0
			again.Reset(0)
		case <-again.C:
			r.send(r.zone.about(e), ttl)
			if said++; said < announcements {
				again.Reset(announceAgain)
			}
		}
	}
}

// change returns a channel that is closed when other interfaces are used.
func (r *Responder) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Instance returns the full DNS name of the instance that s has when it is announced.
func (r *Responder) Instance(s *Service) string { return s.instance(s.label(r.host)) }

// send multicasts records with a time to live of ttl seconds on all interfaces in use. Without records it does nothing.
func (r *Responder) send(records []dns.RR, ttl uint32) {
	if len(records) == 0 {
		return
	}
	r.mu.Lock()
	interfaces := r.used
	r.mu.Unlock()
	packet, err := announcement(records, ttl)
	if err != nil {
		r.options.Failed(err)
		return
	}
	for i := range interfaces {
		if err := interfaces[i].send(packet); err != nil {
			r.options.Failed(err)
		}
	}
}

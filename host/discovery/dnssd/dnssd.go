// Package dnssd announces services by DNS-SD over multicast DNS (RFC 6763, RFC 6762), for programs on the LAN that don't
// know the packets of package discovery: avahi-browse, Bonjour, chart plotters, printers of labels.
//
//	_nmea-0183._tcp.local.  PTR   nmea-boat-10110._nmea-0183._tcp.local.  SRV  10110, nmea-boat-10110.local.
//	                                                                      TXT  codec=nmea mmsi=211234560
//	                              nmea-boat-10110.local.                  A    192.0.2.7
//
// A [Responder] says this when a service begins, a second later, and when interfaces change; it answers who asks; and it
// says goodbye when the service ends. Who did not hear the goodbye forgets the records after two minutes.
//
// # Names
//
// An instance is called SERVICE-HOST-PORT, where HOST is this machine's name up to the first dot, and its addresses are
// those of a host of that name. So services of one machine, also of several processes, have names of their own, and
// the machine's own name is left to whoever answers for it already, such as Avahi. Names are not probed before they
// are used: machines with the same name that announce the same service on the same port are taken for one.
//
// # What answers
//
// Records are made, and queries answered, by hashicorp/mdns. What it does not do is done here, or is a limit:
//
//   - It says nothing unasked. Announcements and goodbyes are sent from here.
//   - Its server hears one interface, except on Linux, where it hears all that anybody listens on. So there is one for
//     each interface, and on Linux one in all, with memberships of each interface. There it also answers who asks
//     on an interface that was not chosen, if another program listens for multicast DNS on it.
//   - It answers wherever a query seems to come from. So that nobody can direct a stream of answers at others, there are
//     at most [MaxAnswers] a second in all. Who asks more than that keeps others from answers, not from announcements.
//   - It answers to the one who asked, not to the group, and with an identifier of 0. Avahi and its own client take that;
//     what compares identifiers, such as dig, does not. It suppresses no answers that are known already.
//   - It compares names with upper and lower case, looks names up in the DNS if it is given no addresses, and has the
//     standard logger print every packet that is not understood. None of that can happen here.
//   - It does not say why it could not listen. That is found out here, and tried again.
//   - Its goroutines end when its sockets are closed, but are not waited for. One that has an answer by then may send it.
//
// Nothing is listened on while nothing is announced. Where another responder has the port as well, as Avahi has, both work,
// though Avahi warns of it.
//
// All addresses of the chosen interfaces are announced on each of them. Where networks can't reach each other, choose one.
// IPv6 addresses of the link alone are left out, for a record can't say which link is meant.
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
	// MaxAnswers is how many questions a Responder answers in a second, whoever asks.
	MaxAnswers = 20

	// announcements are how often a service is announced when it begins or interfaces change, and announceAgain is the
	// time between (RFC 6762, section 8.3).
	announcements = 2
	announceAgain = time.Second

	// openAgain is how long a Responder waits that could not listen, unless interfaces change.
	openAgain = time.Minute
)

// ErrNoInterface says that none of the chosen interfaces is up, can multicast, and has an address.
var ErrNoInterface = errors.New("no interface that can multicast")

// Options are ready as their zero value.
type Options struct {
	// Interfaces are names of interfaces, addresses that they have, or networks of such addresses: eth0, 192.0.2.5,
	// 192.0.2.0/24. One that is not there is waited for. With an address or a network, only what it names is announced.
	// None: every interface that is up and can multicast, but not loopback.
	Interfaces []string
	// Host is the name of this machine, of which what is before the first dot counts; "": what the system says.
	Host string
	// Failed, unless nil, is told what could not be listened for or said. That is tried again. It may be called by
	// several goroutines at the same time.
	Failed func(error)
	// Ignored, unless nil, is told why a packet was not understood, which is ordinary, and up to whoever sends on the LAN.
	// It may be called by several goroutines at the same time.
	Ignored func(why string)
}

// A Responder announces services and answers for them. It is safe for concurrent use.
type Responder struct {
	options Options
	host    string
	zone    zone

	mu      sync.Mutex
	all     []Interface   // of the machine
	used    []used        // that are listened on; none while that fails
	changed chan struct{} // closed when used changes
	wake    chan struct{} // all changed, or whether there are services
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

// SetInterfaces tells which interfaces the machine has, now. It does not block, and all is not changed afterwards.
func (r *Responder) SetInterfaces(all []Interface) {
	r.mu.Lock()
	r.all = all
	r.mu.Unlock()
	r.rouse()
}

// rouse has Run look again.
func (r *Responder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run listens on the chosen interfaces, while something is announced, until ctx is done. That is after all calls of
// Announce have ended, or there are no goodbyes. It is called once.
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
	for failed := true; ; { // nothing was tried yet
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
			failed = true // so that all is tried when there is something again
			continue
		case !failed && same(chosen, now):
			continue
		}
		// Everything is opened anew: what is listening can't tell whether it still would be heard.
		stop()
		var err error
		listening, err = listen(chosen, r.everything(), &r.zone, logger(r.options.Ignored))
		failed = err != nil && !errors.Is(err, ErrNoInterface) // for which nothing but a change of interfaces helps
		if err != nil {
			r.options.Failed(err)
		}
		if len(listening) == 0 {
			chosen = nil
		}
		r.use(chosen)
	}
}

func (r *Responder) everything() []Interface {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// choose returns the interfaces that should be used, and those that are.
func (r *Responder) choose() (chosen, now []used) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return choose(r.all, r.options.Interfaces), r.used
}

// use has what is announced follow the interfaces.
func (r *Responder) use(interfaces []used) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = interfaces
	r.zone.move(interfaces)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Announce announces s until ctx is done, and then says goodbye. Who asks later gets no answer. It is an error if s can't
// be announced.
func (r *Responder) Announce(ctx context.Context, s *Service) error {
	if err := s.Check(); err != nil {
		return err
	}
	e := &entry{service: s, label: s.label(r.host)}
	r.mu.Lock()
	r.zone.add(e, r.used)
	r.mu.Unlock()
	r.rouse()
	defer func() {
		r.say(r.zone.remove(e), 0)
		r.rouse()
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
			r.say(r.zone.about(e), ttl)
			if said++; said < announcements {
				again.Reset(announceAgain)
			}
		}
	}
}

// change returns what is closed when other interfaces are used.
func (r *Responder) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Instance returns the full name that s has or would have, as it is written in DNS.
func (r *Responder) Instance(s *Service) string { return s.instance(s.label(r.host)) }

// say multicasts records, with a time to live, on all interfaces that are in use. None: it does nothing.
func (r *Responder) say(records []dns.RR, ttl uint32) {
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
		if err := interfaces[i].say(packet); err != nil {
			r.options.Failed(err)
		}
	}
}

package discovery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// What an Announcer does when nothing else is said.
const (
	DefaultInterval = 10 * time.Second
	DefaultTTL      = 30 * time.Second
)

// When an Announcer speaks.
const (
	startJitter   = 250 * time.Millisecond // the first announcement comes within it
	secondAfter   = time.Second            // the second one, in case that the first was lost
	answerAfter   = 20 * time.Millisecond  // an answer comes no earlier, to answer several queries at once,
	answerJitter  = 100 * time.Millisecond // and at most that much later, so that not all answer in one moment
	answerSpacing = 500 * time.Millisecond // between two answers, whoever asks
)

// goodbyePauses are the times between goodbyes.
var goodbyePauses = []time.Duration{40 * time.Millisecond, 100 * time.Millisecond}

// AnnouncerOptions say what to announce, and how often.
type AnnouncerOptions struct {
	Service Service
	// Interval is the time between announcements, give or take a tenth; 0: DefaultInterval, or a third of TTL if that is
	// given.
	Interval time.Duration
	// TTL is how long the service is remembered after each of them, in whole milliseconds, at least twice the Interval so
	// that it survives one that is lost, at most MaxTTL. 0: three Intervals.
	TTL time.Duration
	// Addresses, unless nil, returns where the service is reached, best first. The first MaxAddresses that are no
	// unspecified, multicast or limited broadcast address are announced, without zones. Called for each announcement, so
	// that they may change. nil, or none: the address that the packet comes from.
	Addresses func() []netip.Addr
}

// An Announcer announces a service: soon after Run begins and a second later, then at the interval, and whenever it is
// asked. When Run ends it says goodbye, three times within 140 ms, since each may be lost.
//
// An answer goes to the whole LAN, and answers all queries of the last moments at once. Answers are at least half a
// second apart. One source address has at most four queries answered at once and then one a second, and at most 256
// source addresses are being remembered for this; queries beyond that are counted, and get no answer of their own.
type Announcer struct {
	station  *Station
	options  AnnouncerOptions
	id       ID
	sequence uint64 // of the last packet; Run alone uses it

	mu       sync.Mutex
	asked    []nonce   // to be echoed by the next answer, at most maxNonces
	due      time.Time // when to answer; zero if nobody asked
	answered time.Time // when that was done last
	limiter  limiter
	stats    AnnouncerStats
	wake     chan struct{} // due was set
}

// AnnouncerStats count since the Announcer was made.
type AnnouncerStats struct {
	Announced int64 // packets sent, other than answers and goodbyes
	Queries   int64 // heard for this service
	Answers   int64 // packets that answered queries, one or several
	Limited   int64 // queries that got no answer of their own; see ErrLimited
}

// NewAnnouncer returns an Announcer with an identity of its own. It is an error if the service can't be announced or
// does not fit in a packet, or if the times are out of range.
func NewAnnouncer(s *Station, options AnnouncerOptions) (*Announcer, error) {
	options.fill()
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Announcer{station: s, options: options, id: newID(), wake: make(chan struct{}, 1)}, nil
}

// fill sets the defaults of what is not given.
func (o *AnnouncerOptions) fill() {
	if o.Service.Network == 0 {
		o.Service.Network = NetworkTCP
	}
	switch {
	case o.Interval == 0 && o.TTL == 0:
		o.Interval, o.TTL = DefaultInterval, DefaultTTL
	case o.Interval == 0:
		o.Interval = o.TTL / 3
	case o.TTL == 0:
		o.TTL = 3 * o.Interval
	}
}

// check reports the first reason why this can't be announced.
func (o *AnnouncerOptions) check() error {
	if err := o.Service.Check(); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	switch {
	case o.Interval < time.Millisecond:
		return fmt.Errorf("announce: interval: got %v, want at least 1ms", o.Interval)
	case o.TTL > MaxTTL || o.TTL/2 < o.Interval:
		return fmt.Errorf("announce: ttl: got %v, want from twice the interval of %v to %v", o.TTL, o.Interval, MaxTTL)
	case o.TTL%time.Millisecond != 0:
		return fmt.Errorf("announce: ttl: got %v, want whole milliseconds", o.TTL)
	}
	const others = headerSize + 1 + maxNonces*nonceSize + MaxAddresses*(1+16) + signatureSize
	if size := len(appendRecord(nil, &o.Service, 0, nil)); size > MaxPacket-others {
		return fmt.Errorf("announce: got names and labels of %d bytes in all, want at most %d", size, MaxPacket-others)
	}
	return nil
}

// ID returns the identity of this Announcer, for [BrowserOptions].Ignore.
func (a *Announcer) ID() ID { return a.id }

// Stats returns what has been counted.
func (a *Announcer) Stats() AnnouncerStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Run announces until ctx is done or the Station ends, and says goodbye. It is called once.
func (a *Announcer) Run(ctx context.Context) {
	leave, ok := a.station.join(a)
	if !ok {
		return
	}
	defer leave()
	next := time.Now().Add(rand.N(min(startJitter, a.options.Interval)))
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for first := true; ; {
		select {
		case <-ctx.Done():
			a.leave()
			return
		case <-a.station.done:
			a.leave()
			return
		case <-a.wake:
		case <-timer.C:
		}
		if now := time.Now(); !now.Before(next) {
			a.announce(nil)
			a.count(func(s *AnnouncerStats) { s.Announced++ })
			next = now.Add(a.pause(first))
			first = false
		}
		timer.Reset(time.Until(a.answer(next)))
	}
}

// pause returns the time until the next announcement.
func (a *Announcer) pause(first bool) time.Duration {
	interval := a.options.Interval
	if first {
		interval = min(interval, secondAfter)
	}
	return interval - interval/10 + rand.N(interval/5+1)
}

// answer answers queries if that is due, and returns when it is due again, or next if that is earlier.
func (a *Announcer) answer(next time.Time) time.Time {
	a.mu.Lock()
	now := time.Now()
	if a.due.IsZero() || now.Before(a.due) {
		defer a.mu.Unlock()
		if a.due.IsZero() || next.Before(a.due) {
			return next
		}
		return a.due
	}
	nonces := a.asked
	a.asked, a.due, a.answered = nil, time.Time{}, now
	a.stats.Answers++
	a.mu.Unlock()
	a.announce(nonces)
	return next
}

func (a *Announcer) count(change func(*AnnouncerStats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}

// announce sends an announcement, which is an answer if there are nonces.
func (a *Announcer) announce(nonces []nonce) {
	a.sequence++
	packet := a.station.begin(announce, a.id, a.sequence)
	packet = appendNonces(packet, nonces)
	a.station.send(appendRecord(packet, &a.options.Service, uint32(a.options.TTL.Milliseconds()), a.addresses()))
}

// addresses returns the addresses to announce.
func (a *Announcer) addresses() []netip.Addr {
	if a.options.Addresses == nil {
		return nil
	}
	var valid []netip.Addr
	for _, address := range a.options.Addresses() {
		if address = address.Unmap().WithZone(""); validAddress(address) && len(valid) < MaxAddresses {
			valid = append(valid, address)
		}
	}
	return valid
}

// leave says goodbye. It takes its time, also if ctx is done: that is when one leaves.
func (a *Announcer) leave() {
	for i := 0; ; i++ {
		a.sequence++
		a.station.send(a.station.begin(goodbye, a.id, a.sequence))
		if i == len(goodbyePauses) {
			return
		}
		<-time.After(goodbyePauses[i])
	}
}

// heard notes a query, for Run to answer.
func (a *Announcer) heard(m *message, from Origin) error {
	if m.kind != query || len(m.service) > 0 && string(m.service) != a.options.Service.Name {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.asked, nonce(m.nonces)) {
		return ErrRepeated // over another interface
	}
	now := time.Now()
	a.stats.Queries++
	if len(a.asked) == maxNonces || !a.limiter.allow(from.Address.Addr(), now) {
		a.stats.Limited++
		return ErrLimited
	}
	a.asked = append(a.asked, nonce(m.nonces))
	if !a.due.IsZero() {
		return nil
	}
	a.due = now
	if earliest := a.answered.Add(answerSpacing); earliest.After(now) && !a.answered.IsZero() {
		a.due = earliest
	}
	a.due = a.due.Add(answerAfter + rand.N(answerJitter))
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

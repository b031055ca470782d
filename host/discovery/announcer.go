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

// Default times of an Announcer.
const (
	DefaultInterval = 10 * time.Second
	DefaultTTL      = 30 * time.Second
)

// Times of an Announcer's packets.
const (
	startJitter   = 250 * time.Millisecond // the first announcement is sent within it, at random
	secondAfter   = time.Second            // the second follows the first, which may be lost, after this time
	answerAfter   = 20 * time.Millisecond  // the least delay of an answer, so that one answer serves several queries
	answerJitter  = 100 * time.Millisecond // random further delay, so that Announcers don't all answer at the same moment
	answerSpacing = 500 * time.Millisecond // the least time between two answers
)

// goodbyePauses are the pauses between goodbyes.
var goodbyePauses = []time.Duration{40 * time.Millisecond, 100 * time.Millisecond}

// AnnouncerOptions say what to announce, and how often.
type AnnouncerOptions struct {
	Service Service
	// Interval is the time between announcements, plus or minus a tenth; 0: DefaultInterval, or a third of TTL if TTL is
	// set.
	Interval time.Duration
	// TTL is how long Browsers remember the service after each announcement, in whole milliseconds. It is at most MaxTTL, and
	// at least twice the Interval, so that one announcement may be lost. 0: DefaultTTL, or three Intervals if Interval is
	// set.
	TTL time.Duration
	// Addresses, unless nil, returns the addresses at which the service is reached, best first. It is called for each
	// announcement, so the addresses may change. The first MaxAddresses of them are announced, without zones; unspecified,
	// multicast and limited broadcast addresses are skipped. If Addresses is nil or returns none, Browsers use the source
	// address of the packet.
	Addresses func() []netip.Addr
}

// An Announcer announces a service: soon after Run begins, a second later, then at the interval, and in answer to queries.
// When Run ends, it says goodbye three times within 140 ms, since each packet may be lost.
//
// An answer is broadcast, and answers all queries that have arrived since the last one. Answers are at least half a second
// apart. Queries are limited per source address: four at once, then one a second, for at most 256 addresses at a time.
// Queries over the limits are counted, and get no answer of their own.
type Announcer struct {
	station  *Station
	options  AnnouncerOptions
	id       ID
	sequence uint64 // of the last packet; Run alone uses it

	mu       sync.Mutex
	asked    []nonce   // nonces that the next answer echoes, at most maxNonces
	due      time.Time // when to answer; zero if there is no query to answer
	answered time.Time // when the last answer was sent
	limiter  limiter
	stats    AnnouncerStats
	wake     chan struct{} // wakes Run when due was set
}

// AnnouncerStats are counts since NewAnnouncer.
type AnnouncerStats struct {
	Announced int64 // announcements sent, without answers
	Queries   int64 // queries received for this service
	Answers   int64 // answers sent; one may answer several queries
	Limited   int64 // queries over the limits, whose nonces no answer echoes; see ErrLimited
}

// NewAnnouncer returns an Announcer with a new identity. It returns an error if the service is invalid or does not fit in a
// packet, or if the times are out of range.
func NewAnnouncer(s *Station, options AnnouncerOptions) (*Announcer, error) {
	options.fill()
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Announcer{station: s, options: options, id: newID(), wake: make(chan struct{}, 1)}, nil
}

// fill sets the defaults of fields that are 0.
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

// check returns an error for the first invalid option.
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

// Stats returns the current counts.
func (a *Announcer) Stats() AnnouncerStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Run announces the service until ctx is done or the Station ends, and then says goodbye. It may be called once.
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

// answer sends an answer if one is due. It returns when an answer is due next, or next if that is earlier.
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

// announce sends an announcement. With nonces, it is an answer.
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

// leave says goodbye, which takes 140 ms. It ignores ctx: it is called when ctx is done.
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

// heard records a query, which Run answers. It implements member.
func (a *Announcer) heard(m *message, from Origin) error {
	if m.kind != query || len(m.service) > 0 && string(m.service) != a.options.Service.Name {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.asked, nonce(m.nonces)) {
		return ErrRepeated // the same query, received on another interface
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

package discovery

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	randv2 "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of a Browser when nothing else is said.
const (
	DefaultMaxServices   = 1024
	DefaultMaxPerAddress = 64
)

// When a Browser asks.
const (
	firstQuery   = 20 * time.Millisecond // at the latest; many may be started by one event
	querySpacing = time.Second           // between two queries, whatever the reason
	longestPause = time.Minute           // after the first queries the pause doubles up to it
	staleSpacing = 5 * time.Second       // between two queries that packets from outside the window are the reason of
	nonceLife    = 10 * time.Second      // how long an answer is waited for
)

// BrowserOptions are ready as their zero value: every service, and nobody to tell.
type BrowserOptions struct {
	// Service is the name to look for; "": any.
	Service string
	// Ignore lists identities that don't count, such as our own.
	Ignore []ID
	// MaxServices is how many services are remembered; 0: DefaultMaxServices. When there are as many, new ones are
	// ignored and counted until one is gone: those that are in use stay, whatever anybody announces.
	MaxServices int
	// MaxPerAddress is how many of them may come from one source address; 0: DefaultMaxPerAddress.
	MaxPerAddress int
	// Changed, unless nil, is told what changed, one change at a time and in order, by the goroutine of Run. It may take
	// its time: what happens meanwhile to one service is told as one change, or not at all if it is again as it was. It
	// must return, for Run to end.
	Changed func(Change)
}

// A Change is what happened to a service.
type Change struct {
	Kind  ChangeKind
	Found Found // as it is now, or as it was last
}

// A ChangeKind says what happened.
type ChangeKind int

// What can happen to a service.
const (
	Appeared ChangeKind = iota
	Updated             // it announces something else, or comes from elsewhere
	Left                // it said goodbye
	Expired             // its time to live has passed
)

// String returns the kind in lower case.
func (k ChangeKind) String() string {
	return [...]string{"appeared", "updated", "left", "expired"}[k]
}

// A Browser knows the services of the LAN. While Run runs it asks for them: at once, after one second, and then with
// pauses that double up to a minute; also when a service was not heard for four fifths of its time to live; never more
// often than once a second.
type Browser struct {
	station  *Station
	options  BrowserOptions
	id       ID
	sequence uint64 // of the last query; Run alone uses it
	window   time.Duration

	mu        sync.Mutex
	live      map[ID]*entry
	tombs     tombs
	told      map[ID]*entry       // as Changed knows them
	touched   map[ID]uint64       // what may have changed since Changed was told, and in which order
	touches   uint64              // counts them
	gone      map[ID]ChangeKind   // of those: how they went
	asked     map[nonce]time.Time // when
	last      time.Time           // when we asked last
	scheduled time.Time           // when we ask next
	pause     time.Duration       // after that
	stale     time.Time           // when we asked last because of a stale packet
	stats     BrowserStats
	changed   chan struct{} // closed when live changes, and replaced
	wake      chan struct{} // Run has something to do
}

// An entry is a service that is known. Only its times change, and the last three fields: what it announces does not,
// since an announcement of anything else makes a new entry.
type entry struct {
	found   Found // without Expires
	record  string
	expires time.Time
	refresh time.Time // when to ask whether it is still there; zero if we did
	history
	confirmed uint64 // the latest sequence that came from found.Origin
}

// BrowserStats count announcements and goodbyes since the Browser was made, for the service that is looked for.
type BrowserStats struct {
	Queries     int64 // sent
	Accepted    int64
	Stale       int64 // see ErrStale
	Repeated    int64 // see ErrRepeated
	Full        int64 // see ErrFull
	Unreachable int64 // see ErrUnreachable
}

// NewBrowser returns a Browser that knows nothing yet.
func NewBrowser(s *Station, options BrowserOptions) (*Browser, error) {
	if options.Service != "" && !validName(options.Service) {
		return nil, fmt.Errorf("discover: service: got %q, want a name of letters, digits, '-', '_' and '.'", options.Service)
	}
	if options.MaxServices < 0 || options.MaxPerAddress < 0 {
		return nil, fmt.Errorf("discover: got at most %d services and %d of one address, want none below 0",
			options.MaxServices, options.MaxPerAddress)
	}
	options.MaxServices = cmp.Or(options.MaxServices, DefaultMaxServices)
	options.MaxPerAddress = cmp.Or(options.MaxPerAddress, DefaultMaxPerAddress)
	b := &Browser{
		station: s, options: options, id: newID(),
		live: map[ID]*entry{}, told: map[ID]*entry{}, touched: map[ID]uint64{}, gone: map[ID]ChangeKind{}, asked: map[nonce]time.Time{},
		pause: querySpacing, changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if s.key != nil {
		b.window = s.options.Window
	}
	b.tombs = tombs{all: map[ID]tomb{}, limit: options.MaxServices, window: b.window}
	return b, nil
}

// Run asks, and keeps what it hears, until ctx is done or the Station ends. It is called once.
func (b *Browser) Run(ctx context.Context) {
	leave, ok := b.station.join(b)
	if !ok {
		return
	}
	defer leave()
	b.mu.Lock()
	b.scheduled = time.Now().Add(randv2.N(firstQuery))
	b.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.station.done:
			return
		case <-b.wake:
		case <-timer.C:
		}
		next := b.work()
		b.tell()
		timer.Reset(time.Until(next))
	}
}

// work forgets what has expired, asks if it is time, and returns when there is work again.
func (b *Browser) work() (next time.Time) {
	b.mu.Lock()
	now := time.Now()
	b.expire(now)
	question := b.question()
	due := !question.After(now)
	var n nonce
	if due {
		n = b.ask(now)
		question = b.question()
	}
	next = question
	for _, e := range b.live {
		if e.expires.Before(next) {
			next = e.expires
		}
	}
	b.mu.Unlock()
	if due {
		b.sequence++
		b.station.send(appendQuery(b.station.begin(query, b.id, b.sequence), n, b.options.Service))
	}
	return next
}

// question returns when to ask next.
func (b *Browser) question() time.Time {
	at := b.scheduled
	for _, e := range b.live {
		if !e.refresh.IsZero() && e.refresh.Before(at) {
			at = e.refresh
		}
	}
	if allowed := b.last.Add(querySpacing); !b.last.IsZero() && at.Before(allowed) {
		return allowed
	}
	return at
}

// ask notes that we ask now, and returns the nonce to do so with.
func (b *Browser) ask(now time.Time) (n nonce) {
	_, _ = rand.Read(n[:]) // never fails
	for old, at := range b.asked {
		if now.Sub(at) > nonceLife {
			delete(b.asked, old)
		}
	}
	b.asked[n] = now
	b.last = now
	b.stats.Queries++
	for _, e := range b.live {
		if !e.refresh.IsZero() && !e.refresh.After(now) {
			e.refresh = time.Time{}
		}
	}
	if !b.scheduled.After(now) {
		b.scheduled = now.Add(b.pause)
		b.pause = min(2*b.pause, longestPause)
	}
	return n
}

// expire forgets the services whose time to live has passed.
func (b *Browser) expire(now time.Time) {
	for id, e := range b.live {
		if !e.expires.After(now) {
			b.remove(id, Expired)
		}
	}
}

// remove forgets a service, but not its history.
func (b *Browser) remove(id ID, why ChangeKind) {
	b.tombs.bury(id, b.live[id].history, b.station.now())
	delete(b.live, id)
	b.touch(id)
	b.gone[id] = why
	if b.told[id] == nil { // nor need it be told: however many come and go, what is to be told is bounded
		delete(b.touched, id)
		delete(b.gone, id)
	}
}

// touch notes that a service may have changed.
func (b *Browser) touch(id ID) {
	delete(b.gone, id)
	b.touches++
	b.touched[id] = b.touches
	close(b.changed)
	b.changed = make(chan struct{})
	b.rouse()
}

func (b *Browser) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// tell tells Changed what is different from what it was told before.
func (b *Browser) tell() {
	for _, change := range b.changes() {
		if b.options.Changed != nil {
			b.options.Changed(change)
		}
	}
}

func (b *Browser) changes() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	var changes []Change
	order := func(x, y ID) int { return cmp.Compare(b.touched[x], b.touched[y]) }
	for _, id := range slices.SortedFunc(maps.Keys(b.touched), order) {
		is, was := b.live[id], b.told[id]
		switch {
		case is != nil && was == nil:
			changes = append(changes, Change{Appeared, is.view()})
		case is != nil && !is.same(was):
			changes = append(changes, Change{Updated, is.view()})
		case is == nil && was != nil:
			changes = append(changes, Change{b.gone[id], was.view()})
		}
		if is != nil {
			b.told[id] = is
		} else {
			delete(b.told, id)
		}
	}
	clear(b.touched)
	clear(b.gone)
	return changes
}

// heard judges an announcement or a goodbye.
func (b *Browser) heard(m *message, from Origin) error {
	if m.kind == query || slices.Contains(b.options.Ignore, m.id) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now) // Run may be busy
	e := b.live[m.id]
	wanted := b.options.Service == "" || string(m.service) == b.options.Service
	if e == nil && m.kind == announce && !wanted {
		return nil
	}
	err := b.judge(e, m, from, now)
	switch err {
	case nil:
		b.stats.Accepted++
	case ErrRepeated:
		b.stats.Repeated++
	case ErrStale:
		b.stats.Stale++
		b.askBecauseStale(now)
	case ErrFull:
		b.stats.Full++
	case ErrUnreachable:
		b.stats.Unreachable++
	}
	return err
}

// judge takes m, or returns why not. e is what is known of its identity, nil for nothing.
func (b *Browser) judge(e *entry, m *message, from Origin, now time.Time) error {
	past, proven, clock := b.tombs.all[m.id].history, b.proves(m, now), b.station.now()
	if e != nil {
		past = e.history
	}
	if err := past.check(m, proven, clock, b.window); err != nil {
		if e != nil && m.sequence == e.sequence && from.same(e.found.Origin) {
			e.confirmed = m.sequence
		}
		return err
	}
	past.note(m, proven, clock)
	switch {
	case e != nil && (m.kind == goodbye || b.options.Service != "" && string(m.service) != b.options.Service):
		e.history = past
		b.remove(m.id, Left)
		return nil
	case m.kind == goodbye:
		b.tombs.bury(m.id, past, clock)
		return nil
	case e == nil:
		return b.add(m, from, past, now)
	}
	stays := from.same(e.found.Origin) || e.confirmed >= e.sequence // it comes from there as well, only later
	e.history = past
	return b.update(e, m, from, stays, now)
}

// proves says whether m answers a query of ours.
func (b *Browser) proves(m *message, now time.Time) bool {
	if m.kind != announce {
		return false
	}
	for i := 0; i < len(m.nonces); i += nonceSize {
		if at, ok := b.asked[nonce(m.nonces[i:i+nonceSize])]; ok && now.Sub(at) <= nonceLife {
			return true
		}
	}
	return false
}

// askBecauseStale has Run ask, so that a sender whose clock is wrong can prove that it is there.
func (b *Browser) askBecauseStale(now time.Time) {
	if b.stale.IsZero() || now.Sub(b.stale) >= staleSpacing {
		b.stale = now
		b.scheduled = now
		b.rouse()
	}
}

// add remembers a service that was not known.
func (b *Browser) add(m *message, from Origin, past history, now time.Time) error {
	addresses := m.reachable(from)
	if len(addresses) == 0 {
		return ErrUnreachable
	}
	if len(b.live) >= b.options.MaxServices || b.countFrom(from.Address.Addr()) >= b.options.MaxPerAddress {
		return ErrFull
	}
	delete(b.tombs.all, m.id)
	e := b.entry(m, from, addresses)
	e.history = past
	e.heard(m, from, now)
	b.live[m.id] = e
	b.touch(m.id)
	return nil
}

func (b *Browser) countFrom(source netip.Addr) (n int) {
	for _, e := range b.live {
		if e.found.Origin.Address.Addr() == source {
			n++
		}
	}
	return n
}

// update takes what a service that is known announces. If it stays, its packets are still taken to come from where they
// came before.
func (b *Browser) update(e *entry, m *message, from Origin, stays bool, now time.Time) error {
	if string(m.raw) != e.record || !stays {
		origin := from
		if stays {
			origin = e.found.Origin
		}
		addresses := m.reachable(origin)
		if len(addresses) == 0 {
			return ErrUnreachable
		}
		changed := b.entry(m, origin, addresses)
		changed.history, changed.confirmed = e.history, e.confirmed
		e = changed
		b.live[m.id] = e
		b.touch(m.id)
	}
	e.heard(m, from, now)
	return nil
}

func (b *Browser) entry(m *message, from Origin, addresses []netip.AddrPort) *entry {
	return &entry{
		found:  Found{Service: m.describe(), ID: m.id, Addresses: addresses, Origin: from, Signed: b.station.key != nil},
		record: string(m.raw),
	}
}

// heard begins the service's time to live anew.
func (e *entry) heard(m *message, from Origin, now time.Time) {
	if from.same(e.found.Origin) {
		e.confirmed = m.sequence
	}
	e.expires = now.Add(m.lives())
	e.refresh = now.Add(m.lives() / 5 * 4)
}

func (e *entry) same(other *entry) bool {
	return e.record == other.record && e.found.Origin.same(other.found.Origin)
}

// same says whether two packets came from the same place. The port that they were sent from does not matter.
func (o Origin) same(other Origin) bool {
	return o.Address.Addr() == other.Address.Addr() && o.Interface == other.Interface
}

// view returns what is known of the service, as a copy.
func (e *entry) view() Found {
	f := e.found
	f.Expires = e.expires
	f.Addresses = slices.Clone(f.Addresses)
	f.Labels = maps.Clone(f.Labels)
	return f
}

// Services returns the services that are known now, sorted by name and then by identity.
func (b *Browser) Services() []Found {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.services()
}

func (b *Browser) services() []Found {
	b.expire(time.Now())
	all := make([]Found, 0, len(b.live))
	for _, e := range b.live {
		all = append(all, e.view())
	}
	slices.SortFunc(all, func(x, y Found) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), slices.Compare(x.ID[:], y.ID[:]))
	})
	return all
}

// Stats returns what has been counted.
func (b *Browser) Stats() BrowserStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

package discovery

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
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
		return nil, fmt.Errorf("discover: service: got %q, want %s", options.Service, wantName)
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
		b.reportChanges()
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

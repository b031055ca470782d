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

// Default limits of a Browser.
const (
	DefaultMaxServices   = 1024
	DefaultMaxPerAddress = 64
)

// Times of a Browser's queries.
const (
	firstQuery   = 20 * time.Millisecond // the first is sent within it, at random: one event may start many Browsers
	querySpacing = time.Second           // the least time between two queries
	longestPause = time.Minute           // the pause between queries doubles up to it
	staleSpacing = 5 * time.Second       // the least time between two queries because of stale packets
	nonceLife    = 10 * time.Second      // how long the nonce of a query is valid in answers
)

// BrowserOptions are ready as their zero value: any service, no callback.
type BrowserOptions struct {
	// Service is the name to look for; "" means any.
	Service string
	// Ignore lists identities to ignore, such as those of this process's own Announcers.
	Ignore []ID
	// MaxServices is how many services the Browser remembers; 0: DefaultMaxServices. At the limit, new services are ignored
	// and counted until one is gone, so a flood of announcements can't displace services that are in use.
	MaxServices int
	// MaxPerAddress is how many of them may come from one source address; 0: DefaultMaxPerAddress.
	MaxPerAddress int
	// Changed, unless nil, is called from the goroutine of Run with each change, one at a time and in order. It may be slow:
	// all that happens to one service meanwhile becomes one change, or none if the service is as it was before. Run does
	// not end before Changed returns.
	Changed func(Change)
}

// A Browser keeps a list of the services on the LAN. While Run runs, it sends queries: at once, after one second, and then
// with pauses that double up to a minute; also when it has not heard a service for four fifths of its time to live. It
// never sends more than one query a second. A Browser is safe for concurrent use.
type Browser struct {
	station  *Station
	options  BrowserOptions
	id       ID
	sequence uint64 // of the last query; Run alone uses it
	window   time.Duration

	mu         sync.Mutex
	live       map[ID]*entry
	tombstones tombstones
	reported   map[ID]*entry       // the services as last reported to Changed
	touched    map[ID]uint64       // services that may have changed since then, and in which order
	touches    uint64              // the last number in touched
	gone       map[ID]ChangeKind   // for services in touched that are gone: Left or Expired
	asked      map[nonce]time.Time // when a query with this nonce was sent
	last       time.Time           // when the last query was sent
	scheduled  time.Time           // when to send the next query
	pause      time.Duration       // from then to the query after it
	stale      time.Time           // when a stale packet last caused a query
	stats      BrowserStats
	changed    chan struct{} // closed and replaced when live changes
	wake       chan struct{} // wakes Run
}

// BrowserStats are counts since NewBrowser. Except Queries, they count announcements and goodbyes of the service that is
// looked for.
type BrowserStats struct {
	Queries     int64 // sent
	Accepted    int64
	Stale       int64 // see ErrStale
	Repeated    int64 // see ErrRepeated
	Full        int64 // see ErrFull
	Unreachable int64 // see ErrUnreachable
}

// NewBrowser returns a Browser that has found no services yet.
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
		live: map[ID]*entry{}, reported: map[ID]*entry{}, touched: map[ID]uint64{}, gone: map[ID]ChangeKind{}, asked: map[nonce]time.Time{},
		pause: querySpacing, changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if s.key != nil {
		b.window = s.options.Window
	}
	b.tombstones = tombstones{all: map[ID]tombstone{}, limit: options.MaxServices, window: b.window}
	return b, nil
}

// Run sends queries and receives announcements, until ctx is done or the Station ends. It may be called once.
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

// work removes expired services, sends a query if one is due, and returns when to call it again.
func (b *Browser) work() (next time.Time) {
	b.mu.Lock()
	now := time.Now()
	b.expire(now)
	question := b.nextQuery()
	due := !question.After(now)
	var n nonce
	if due {
		n = b.ask(now)
		question = b.nextQuery()
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

// nextQuery returns when the next query is due.
func (b *Browser) nextQuery() time.Time {
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

// ask records that a query is sent now, and returns its nonce.
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

// expire removes the services whose time to live has passed.
func (b *Browser) expire(now time.Time) {
	for id, e := range b.live {
		if !e.expires.After(now) {
			b.remove(id, Expired)
		}
	}
}

// remove removes a service, and keeps its history as a tombstone.
func (b *Browser) remove(id ID, why ChangeKind) {
	b.tombstones.add(id, b.live[id].history, b.station.now())
	delete(b.live, id)
	b.touch(id)
	b.gone[id] = why
	if b.reported[id] == nil { // never reported, so its end need not be: this bounds touched and gone
		delete(b.touched, id)
		delete(b.gone, id)
	}
}

// Services returns the services found, sorted by name and then by identity.
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

// Stats returns the current counts.
func (b *Browser) Stats() BrowserStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

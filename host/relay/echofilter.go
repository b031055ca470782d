package relay

import (
	"net/netip"
	"sync"
	"time"
)

// suppression is how long a frame is remembered for what it suppresses.
const suppression = 2 * time.Second

const (
	recentFrames    = 1 << 16 // remembered at most by a member
	recentFirst     = 1 << 10 // and what there is memory for at first
	recentFrameSize = 256     // bytes that are charged for each

	// recentInterfaces are told apart. Interfaces come and go; after this many, all is forgotten once.
	recentInterfaces = 64
)

// An echoFilter remembers what crossed a member of datagrams in the last two seconds, to tell the echoes of our own frames from
// new ones. Each frame sent there suppresses at most one identical arrival on each interface. Each frame that came from
// there and was passed on does so too, but not when its own source repeats it.
//
// The second rule ends a loop that the first one doesn't see. Two hosts relay between the networks A and B, and a
// frame of A reaches one of them, but gets lost on its way to the other. The other one hears it on B, from the first,
// for the first time, and so sends it to A, where the first did not send it but heard it before.
//
// Times are not kept with every interface, but counted: of the credits that a frame gave, those of the ones that are
// too old go first, since they were given first.
type echoFilter struct {
	account *memoryAccount

	mu         sync.Mutex
	traces     map[uint64]*trace
	spare      []*trace
	ring       []record // in order of time, from head on
	head, used int
	interfaces map[int]int
	charge     int64
	closed     bool
}

// A record is what has to be forgotten at its time.
type record struct {
	hash  uint64
	at    time.Time
	heard uint64 // which of the trace's series of frames heard it belongs to; 0: sent
}

// A trace is what is remembered of one frame.
type trace struct {
	sent   credits
	heard  credits
	source netip.AddrPort // of the frames heard
	series uint64         // of these; another one begins when the source changes
}

// credits counts occurrences of a frame, and what they have suppressed.
type credits struct {
	added, expired uint64
	spent          []uint64 // of those added, by interface
}

func newEchoFilter(a *memoryAccount) *echoFilter {
	return &echoFilter{account: a, traces: map[uint64]*trace{}, interfaces: map[int]int{}}
}

// sent remembers a frame that is about to be sent.
func (r *echoFilter) sent(hash uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.expire(now)
	if r.remember(record{hash: hash, at: now}) {
		r.trace(hash).sent.added++
	}
}

// heard reports whether an arrival is to be passed on, and remembers it if so.
func (r *echoFilter) heard(hash uint64, source netip.AddrPort, from int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	number := r.number(from)
	t := r.traces[hash]
	if t != nil && (t.sent.spend(number) || t.source != source && t.heard.spend(number)) {
		return false
	}
	series := uint64(1)
	if t != nil && t.series > 0 && t.source == source {
		series = t.series
	} else if t != nil {
		series = t.series + 1
	}
	if !r.remember(record{hash: hash, at: now, heard: series}) {
		return true
	}
	t = r.trace(hash)
	if t.series != series {
		t.source, t.series, t.heard = source, series, credits{spent: t.heard.spent[:0]}
	}
	t.heard.added++
	return true
}

// number returns the place of an interface in credits.
func (r *echoFilter) number(from int) int {
	n, ok := r.interfaces[from]
	if ok {
		return n
	}
	if len(r.interfaces) == recentInterfaces {
		for r.used > 0 {
			r.forget()
		}
		clear(r.interfaces)
	}
	n = len(r.interfaces)
	r.interfaces[from] = n
	return n
}

// trace returns what is remembered of a frame, to add to it.
func (r *echoFilter) trace(hash uint64) *trace {
	t := r.traces[hash]
	if t == nil {
		if n := len(r.spare); n > 0 {
			t, r.spare = r.spare[n-1], r.spare[:n-1]
		} else {
			t = &trace{}
		}
		r.traces[hash] = t
	}
	return t
}

// remember appends to the ring, which forgets its oldest record early if there is no room for another. It returns false
// when there is no memory for any.
func (r *echoFilter) remember(one record) bool {
	if r.used == len(r.ring) && !r.grow() {
		if r.used == 0 {
			return false
		}
		r.forget()
	}
	r.ring[(r.head+r.used)%len(r.ring)] = one
	r.used++
	return true
}

func (r *echoFilter) grow() bool {
	size := max(2*len(r.ring), recentFirst)
	more := recentFrameSize * int64(size-len(r.ring))
	if size > recentFrames || !r.account.try(more) {
		return false
	}
	r.charge += more
	ring := make([]record, size)
	n := copy(ring, r.ring[r.head:])
	copy(ring[n:], r.ring[:r.head])
	r.ring, r.head = ring, 0
	return true
}

func (r *echoFilter) expire(now time.Time) {
	for r.used > 0 && now.Sub(r.ring[r.head].at) >= suppression {
		r.forget()
	}
}

// forget drops the oldest record.
func (r *echoFilter) forget() {
	old := r.ring[r.head]
	r.head = (r.head + 1) % len(r.ring)
	r.used--
	t := r.traces[old.hash]
	switch old.heard {
	case 0:
		t.sent.expired++
	case t.series:
		t.heard.expired++
	}
	if t.sent.live() == 0 && t.heard.live() == 0 {
		delete(r.traces, old.hash)
		*t = trace{sent: credits{spent: t.sent.spent[:0]}, heard: credits{spent: t.heard.spent[:0]}}
		r.spare = append(r.spare, t)
	}
}

func (r *echoFilter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.account.give(r.charge)
	r.closed, r.charge, r.traces, r.ring, r.spare = true, 0, nil, nil, nil
}

func (c *credits) live() uint64 { return c.added - c.expired }

// spend takes one credit on an interface, if one is left.
func (c *credits) spend(number int) bool {
	spent := c.expired
	if number < len(c.spent) {
		spent = max(spent, c.spent[number])
	}
	if spent >= c.added {
		return false
	}
	for len(c.spent) <= number {
		c.spent = append(c.spent, 0)
	}
	c.spent[number] = spent + 1
	return true
}

package relay

import (
	"net/netip"
	"sync"
	"time"
)

// suppression is how long a frame can suppress identical ones.
const suppression = 2 * time.Second

const (
	recentFrames    = 1 << 16 // the most frames that a member remembers
	recentFirst     = 1 << 10 // the number of frames for which memory is charged at first
	recentFrameSize = 256     // bytes charged for each frame

	// recentInterfaces is the most interfaces that a filter distinguishes. Interfaces appear and disappear; when one more
	// appears, the filter forgets everything once.
	recentInterfaces = 64
)

// An echoFilter remembers the frames that a datagram member sent and received in the last two seconds, to distinguish echoes of our
// own frames from new frames. By the first rule, each frame sent suppresses at most one identical arrival on each interface. By
// the second rule, each frame that was received and passed on does so too, unless the arrival comes from the same source.
//
// The second rule ends a loop that the first rule does not detect. Suppose two hosts relay between networks A and B, and a frame on A
// reaches the first host but is lost on its way to the second. The second host receives the frame on B, from the first host, for the
// first time, and therefore sends it to A. The first host has not sent this frame to A, but it has received it there.
//
// The filter does not store times for each interface; it counts credits. Each frame adds one credit for each interface, and takes it
// back when it expires. The oldest credits are spent first, since they expire first.
type echoFilter struct {
	account *memoryAccount

	mu         sync.Mutex
	traces     map[uint64]*trace
	spare      []*trace
	ring       []record // used records in order of time, from head on
	head, used int
	interfaces map[int]int
	charge     int64
	closed     bool
}

// A record is one occurrence of a frame, which expires suppression after at.
type record struct {
	hash  uint64
	at    time.Time
	heard uint64 // the trace's series of received frames that it belongs to; 0: the frame was sent
}

// A trace is the memory of one frame.
type trace struct {
	sent   credits
	heard  credits
	source netip.AddrPort // the source of the frames received
	series uint64         // the number of their series; a new series begins when the source changes
}

// credits counts occurrences of a frame, and the arrivals that they have suppressed.
type credits struct {
	added, expired uint64
	spent          []uint64 // how many of the added are spent or expired, by interface
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

// heard reports whether a frame that has arrived is to be passed on. If so, it remembers the frame.
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

// number returns the index of an interface in credits.spent.
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

// trace returns the trace of a frame. It creates one if there is none.
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

// remember appends one to the ring. If the ring is full and can't grow, remember forgets the oldest record early. It returns false
// if there is no memory for any record.
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

// spend spends one credit on an interface and returns true, if one is left.
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

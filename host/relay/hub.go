package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A Hub relays between any number of members, which come and go while it runs: each frame that one of them sends goes
// to every other that receives.
//
//	stream   --decode--\                            /--queue--> stream
//	stream   --decode---> payloads --encode--> wire ---queue--> stream
//	datagram --decode--/    once for each codec     \--queue--> datagrams
//
// An endpoint that is dialed again and again has an [Outbox], where frames wait for the next connection.
//
// A [Member] is a stream ([Hub.Stream]) or a place where datagrams come from and go to ([Hub.Datagrams]). It runs like a
// [Session]: its Run returns when it is over, and says why. The hub itself has no goroutine and needs no end.
//
// # Promises
//
// Receivers get whole frames, and those of one sender in their order; frames of different senders may be mixed
// differently at different receivers. A frame is encoded once for each codec among its receivers, and they share the
// result. Nothing is lost but what the receiver's [Queue] drops, which is counted, and what its framing can't carry,
// which is reported. A slow receiver holds up no other for long, unless its policy is [Block].
//
// # Receivers that keep up
//
// A sender may send more at once than a receiver's queue holds. Frames without room stay with the sender. It waits while the
// receiver keeps up, and meanwhile neither reads nor passes on anything. A receiver keeps up
//
//   - while its connection takes the bytes that are written to it,
//   - while its connection takes none, but for less than Patience at a time, and in sum for twice Patience at first and half of
//     the time after that. A sender waits for all such receivers together for at most three quarters of the time.
//
// A receiver that exceeds this has fallen behind: until its queue has been empty, its policy applies at once, and no sender
// waits for it. With Block senders wait without a limit.
//
// So a receiver loses nothing if it reads at least half as fast as the sender sends. Each time that a slower receiver falls
// behind, it delays the others by at most twice Patience; a receiver that stops, by Patience.
//
// # Ends
//
// A stream has a clean end only after everything in its queue was written: when the hub or the member ends, or when the hub
// rests while it drains ([Hub.Drain]). In all other cases, such as a full queue with the policy [Disconnect], the peer sees
// a reset. A peer that has ended its own direction goes on receiving as long as something is written to it within
// Timeouts.HalfClose. The end of a connection is noticed when it comes, even if nothing is read from the connection or written
// to it.
//
// A payload that the framing of some receivers can't carry is the sender's violation: the other receivers get it, and
// with CloseSession the sender is over then. When the codec of some receivers fails, these receivers are over.
//
// # Memory
//
// Each member has an account for the bytes that it sends. Frames in queues are charged once, however many receivers share them,
// and to the hub, not to a member: the budget should be larger than the sum of all queues that may be full at a time with
// different frames. A sender waits for memory as a [Session] does. If it gets none in time, a stream ends with the reason
// MemoryShort, and datagrams are dropped and counted.
//
// # Codecs
//
// Codecs whose frames depend on those before them ([codeccall.Properties].UsesState) are refused, and so is a stream
// without a codec.
//
// # Datagrams
//
// A datagram is decoded by itself: from the empty state, and its end is the end of the stream. What is at fault costs at
// most the rest of that datagram, whatever the policy says: there is no connection to close. CloseSession drops the rest,
// Skip goes on inside the datagram where the codec can. Each frame leaves as a datagram of its own.
//
// # No loops
//
// A datagram that its receiver knows to be our own ([Datagram].Own) is dropped. Beyond that, members that both send and
// receive datagrams, other than answers, remember for two seconds the frames that crossed them. A frame that was sent
// suppresses at most one identical arrival on each interface, as another host brings it that relays back; a frame that
// was heard and passed on suppresses one that comes from another source. So what a sender repeats passes unless we sent
// the same, and so does everything that comes to a member which only receives, or in a stream. The last 65,536 frames
// are remembered, less when memory is short.
//
// A copy is not told from an identical frame that somebody else means: of the two, the first to come is suppressed, and
// the other passes. Package host says what follows from that for those who connect networks.
type Hub struct {
	// Patience is how long a sender waits for a receiver whose queue is full and whose connection takes no bytes; see
	// "Receivers that keep up" above. 0: not at all. It must not change once there are members.
	Patience time.Duration

	memory *Memory
	queued *memoryAccount // for the frames in queues
	seed   maphash.Seed
	origin time.Time

	receiverSet atomic.Pointer[receiverSet] // nil: to be made anew

	mu       sync.Mutex
	members  map[*Member]struct{}
	outboxes map[*Outbox]struct{}
	passing  int           // members that pass on what they received
	ending   Reason        // "": the hub goes on
	ended    chan struct{} // closed when ending is set
	drain    *hubDrain     // nil: Drain was not called
	gone     MemberCounts  // of members that left
}

// NewHub returns a hub whose buffers are charged to memory; nil: nothing is charged.
func NewHub(memory *Memory) *Hub {
	return &Hub{
		memory: memory, queued: memory.open("", 0), seed: maphash.MakeSeed(), origin: time.Now(),
		members: map[*Member]struct{}{}, outboxes: map[*Outbox]struct{}{}, ended: make(chan struct{}),
	}
}

// A receiverSet is the receivers of a hub at one time, by codec. It is not changed once it is made.
type receiverSet struct {
	groups  []group
	recents bool // some of them remember what they are sent
}

type group struct {
	codec     codeccall.Codec // nil: a datagram is a payload
	longest   int             // bytes of the longest payload
	receivers []*receiver
}

// hears reports whether any of the group gets what sender sends.
func (g *group) hears(sender *Member) bool {
	return len(g.receivers) > 1 || g.receivers[0].hears(sender)
}

// listeners returns who receives now.
func (h *Hub) listeners() *receiverSet {
	if a := h.receiverSet.Load(); a != nil {
		return a
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := &receiverSet{}
	index := map[codeccall.Codec]int{}
	for m := range h.members {
		if m.config.Use != ReceiveOnly && !m.lasts {
			a.add(index, m.receiver)
		}
	}
	for o := range h.outboxes {
		a.add(index, &o.receiver)
	}
	h.receiverSet.Store(a)
	return a
}

// add adds r to its group, whose index is in index.
func (a *receiverSet) add(index map[codeccall.Codec]int, r *receiver) {
	i, ok := index[r.codec]
	if !ok {
		i = len(a.groups)
		index[r.codec] = i
		a.groups = append(a.groups, group{codec: r.codec})
		if r.codec != nil {
			a.groups[i].longest = r.codec.Properties().MaxFrame
		}
	}
	a.groups[i].receivers = append(a.groups[i].receivers, r)
	a.recents = a.recents || r.echoFilter != nil
}

// join makes m a member. It returns false if the hub ends, or if it drains and m has no outbox.
func (h *Hub) join(m *Member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" {
		m.drainFor(h.ending)
		return false
	}
	if h.drain != nil {
		if !m.lasts {
			m.drainFor(h.drain.reason)
			return false
		}
		h.drain.admit(m)
	}
	h.members[m] = struct{}{}
	h.receiverSet.Store(nil)
	return true
}

func (h *Hub) leave(m *Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, m)
	h.receiverSet.Store(nil)
	h.gone.add(m.counts.all())
}

// enter lets m pass on what it received, until it calls exit. It returns false when that is too late.
func (h *Hub) enter(m *Member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" || m.drained() || m.deaf {
		return false
	}
	h.passing++
	m.passing = true
	return true
}

func (h *Hub) exit(m *Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passing--
	m.passing = false
	if h.ending != "" {
		h.sealAll()
	} else if m.drained() {
		m.finish()
	}
}

// sealAll lets all queues come to their ends, once nothing more can get into them. The caller has the lock.
func (h *Hub) sealAll() {
	if h.passing > 0 {
		return
	}
	for m := range h.members {
		m.queue.seal()
	}
	for o := range h.outboxes {
		o.receiver.queue.seal()
	}
}

// End asks all members to end in good order, with reason: they receive no more, complete frames that were received are passed
// on, queues are written to their ends, and then each peer sees a clean end, or a reset if more bytes came from it. End does
// not wait: each member's Run returns when its peer has ended as well, or two seconds after the clean end. Until its context
// ends, a member goes on writing to a slow receiver. A member that joins from now on is over at once.
func (h *Hub) End(reason Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endAll(reason)
}

// endAll is End. The caller holds h.mu.
func (h *Hub) endAll(reason Reason) {
	if h.ending != "" {
		return
	}
	h.ending = reason
	close(h.ended)
	for m := range h.members {
		m.drainFor(reason)
	}
	h.sealAll()
}

// Ended is closed when the hub ends: after End, or when a drain found it at rest.
func (h *Hub) Ended() <-chan struct{} { return h.ended }

package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A Hub relays between any number of members, which join and leave while it runs: each frame that one member sends goes to every
// other member that receives.
//
//	stream   --decode--\                            /--queue--> stream
//	stream   --decode---> payloads --encode--> wire ---queue--> stream
//	datagram --decode--/    once for each codec     \--queue--> datagrams
//
// A [Member] is a stream ([Hub.Stream]) or a [Datagrams], a source and destination of datagrams ([Hub.Datagrams]). A member runs
// like a [Session]: its Run returns when the member is over, and says why. An endpoint that is dialed again whenever its
// connection ends has an [Outbox], in which frames wait for the next connection. The hub itself has no goroutine and needs no
// Close. Its methods are safe for concurrent use.
//
// # Promises
//
// Receivers get whole frames. Each receiver gets the frames of one sender in the order in which they were sent; frames of
// different senders may interleave differently at different receivers. A frame is encoded once for each codec among its
// receivers, and these share the result. A receiver loses only frames that its [Queue] drops, which are counted, and payloads
// that its framing can't carry, which are reported. A slow receiver does not delay the others for long, unless its policy is
// [Block].
//
// # Receivers that keep up
//
// A sender may send more at once than a receiver's queue holds. Frames that do not fit stay with the sender. The sender waits as
// long as the receiver keeps up; while it waits, it neither reads nor passes on frames. A receiver keeps up
//
//   - while its connection accepts the bytes that are written to it;
//   - while its connection accepts no bytes, but for less than Patience at a time, and in total for twice Patience at first and
//     for half of the time after that. A sender waits for all such receivers together for at most three quarters of the time.
//
// A receiver that exceeds these limits has fallen behind. Until its queue has been empty once, its policy applies at once, and no
// sender waits for it. With the policy Block, senders wait without a limit.
//
// So a receiver that reads at least half as fast as the sender sends loses nothing. Each time a slower receiver falls behind, it
// delays the others by at most twice Patience. A receiver that stops reading delays them by at most Patience.
//
// # Ends
//
// A stream ends cleanly only after everything in its queue was written. This happens when the hub or the member ends, or when the
// hub rests during a drain ([Hub.Drain]). In all other cases, such as a full queue with the policy [Disconnect], the peer sees a
// reset. A peer that has ended its own direction goes on receiving as long as no more than Timeouts.HalfClose passes between
// writes to it. The hub notices the end of a connection at once, even if it neither reads from the connection nor writes to it.
//
// A payload that the framing of some receivers can't carry is a violation by the sender. The other receivers get the payload;
// then, with CloseSession, the sender's member ends. When the codec of some receivers fails, the members of these receivers end.
//
// # Memory
//
// Each member has an account for the bytes that it sends. Frames in queues are charged once, however many receivers share them,
// and to the hub, not to a member. So the budget should be larger than the sum of all queues that may be full of different
// frames at the same time. A sender waits for memory as a [Session] does. If it gets none in time, a stream ends with the reason
// MemoryShort; datagrams are dropped and counted.
//
// # Codecs
//
// The hub refuses a codec whose frames depend on the frames before them ([codeccall.Properties].UsesState). It also refuses a
// stream without a codec.
//
// # Datagrams
//
// Each datagram is decoded by itself: decoding begins in the empty state, and the end of the datagram is the end of the stream. A
// fault costs at most the rest of its datagram, whatever the policy, because there is no connection to close. CloseSession drops
// the rest of the datagram; Skip goes on inside the datagram if the codec can. Each frame is sent as a datagram of its own.
//
// # No loops
//
// The hub drops a datagram that is known to be our own ([Datagram].Own). In addition, a member that both sends and receives
// datagrams, unless it has [DatagramMember].Answers, remembers for two seconds the frames that it sent or received:
//
//   - A frame that was sent suppresses at most one identical arrival on each interface, since another host may relay it back.
//   - A frame that was received and passed on suppresses at most one identical arrival on each interface from another source.
//
// So a frame that its sender repeats passes, unless we sent an identical one. Everything also passes that arrives in a stream or
// at a member that only receives. A member remembers the last 65,536 frames, or fewer when memory is short.
//
// The hub can't distinguish a relayed copy from an identical frame that another host sends on purpose. Of the two, it suppresses
// the one that arrives first and passes the other. Package host describes the consequences for connected networks.
type Hub struct {
	// Patience is how long a sender waits for a receiver whose queue is full and whose connection accepts no bytes; see
	// "Receivers that keep up" above. 0: senders do not wait. Patience must not change once there are members.
	Patience time.Duration

	memory *Memory
	queued *memoryAccount // for the frames in queues
	seed   maphash.Seed
	origin time.Time

	receiverSet atomic.Pointer[receiverSet] // nil: to be rebuilt

	mu       sync.Mutex
	members  map[*Member]struct{}
	outboxes map[*Outbox]struct{}
	passing  int           // number of members that are passing on what they received
	ending   Reason        // "": the hub is not ending
	ended    chan struct{} // closed when ending is set
	drain    *hubDrain     // nil: Drain was not called
	gone     MemberCounts  // the counts of members that left and of closed outboxes
}

// NewHub returns a hub that charges its buffers to memory. If memory is nil, nothing is charged.
func NewHub(memory *Memory) *Hub {
	return &Hub{
		memory: memory, queued: memory.open("", 0), seed: maphash.MakeSeed(), origin: time.Now(),
		members: map[*Member]struct{}{}, outboxes: map[*Outbox]struct{}{}, ended: make(chan struct{}),
	}
}

// A receiverSet holds the receivers of a hub at one time, grouped by codec. It does not change after it is built.
type receiverSet struct {
	groups  []group
	recents bool // a receiver in it has an echoFilter
}

type group struct {
	codec     codeccall.Codec // nil: each payload is sent as a datagram
	longest   int             // the longest payload, in bytes
	receivers []*receiver
}

// hears reports whether any receiver of the group gets the frames of sender.
func (g *group) hears(sender *Member) bool {
	return len(g.receivers) > 1 || g.receivers[0].hears(sender)
}

// listeners returns the receivers at present.
func (h *Hub) listeners() *receiverSet {
	if a := h.receiverSet.Load(); a != nil {
		return a
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := &receiverSet{}
	index := map[codeccall.Codec]int{}
	for m := range h.members {
		if m.config.Use != ReceiveOnly && !m.ofOutbox {
			a.add(index, m.receiver)
		}
	}
	for o := range h.outboxes {
		a.add(index, &o.receiver)
	}
	h.receiverSet.Store(a)
	return a
}

// add adds r to the group of its codec. index maps codecs to positions in a.groups.
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

// join makes m a member. It returns false if the hub is ending, or if the hub drains and m has no outbox.
func (h *Hub) join(m *Member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" {
		m.drainFor(h.ending)
		return false
	}
	if h.drain != nil {
		if !m.ofOutbox {
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

// enter allows m to pass on what it received, until m calls exit. It returns false if the hub or m is ending, or if m has stopped
// receiving because of a drain.
func (h *Hub) enter(m *Member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" || m.drained() || m.stoppedReceiving {
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

// sealAll seals all queues, unless a member is still passing on frames. The caller holds h.mu.
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

// End asks all members to end in good order, with reason. The members receive no more, pass on complete frames that they have
// received, and write everything in their queues. Then each peer sees a clean end, or a reset if it sent more bytes. End does not
// wait: the Run of each member returns when its peer has ended as well, or two seconds after the clean end. A member goes on
// writing to a slow receiver until the context of its Run ends. A member that joins after End is over at once.
func (h *Hub) End(reason Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endAll(reason)
}

// endAll does the work of End. The caller holds h.mu.
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

// Ended returns a channel that is closed when the hub ends: after End, or when a drain found the hub at rest.
func (h *Hub) Ended() <-chan struct{} { return h.ended }

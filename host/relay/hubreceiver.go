package relay

import (
	"fmt"
	"sync/atomic"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A receiver gets the frames of a hub: a member, or an [Outbox] with the member that it has at the time, if any.
type receiver struct {
	codec      codeccall.Codec // nil: a datagram is a payload
	echo       bool            // it gets the frames of its own member too
	queue      queue
	tally      *hubCounters           // counts what happens to frames on their way to it
	echoFilter *echoFilter            // nil, except for one that both sends and receives datagrams
	member     atomic.Pointer[Member] // writes the queued frames; nil: an outbox without a connection
	lasts      bool                   // it is an outbox
}

// hears reports whether the receiver gets what sender sends.
func (r *receiver) hears(sender *Member) bool { return r.member.Load() != sender || r.echo }

// force gives s to the queue, which drops frames by its policy if there is no room. With the policy Disconnect, the member may
// be over then.
func (r *receiver) force(s frameRange) {
	refused := r.queue.push(s)
	if m := r.member.Load(); refused.len() > 0 && m != nil {
		m.end(SlowReceiver, fmt.Errorf("relay: to member: %d frames, %d bytes, and a queue of at most %d frames and %d bytes",
			refused.len(), refused.size(), r.queue.limit.Frames, r.queue.limit.Bytes), ToMember)
	}
}

// An Outbox is a receiver of a hub that outlasts its connections: an endpoint that is dialed again when its connection ends.
// Frames for it wait in its queue, also while there is no connection.
//
// Without a connection the queue's policy applies once the queue is full: DropOldest and DropNewest drop frames as always; with
// Block senders wait; and with Disconnect all waiting frames are dropped for new ones, so that no stream has a gap.
//
// When a connection breaks, frames that the kernel has not accepted whole are written again, whole, to the next connection; the
// others count as sent. After the peer has ended its own direction, which may mean that it is gone, a frame counts as sent only
// once the peer's kernel has acknowledged it. Frames that the policy drops, and frames left at the end, count as dropped.
type Outbox struct {
	hub      *Hub
	receiver receiver
	counts   hubCounters
}

// OutboxConfig describes an Outbox.
type OutboxConfig struct {
	Codec codeccall.Codec // as its members have it
	Queue Queue
	Echo  bool
}

// Outbox adds a receiver that gets all frames sent from now on, until Close. It fails without a codec, or if the codec uses
// state.
func (h *Hub) Outbox(config OutboxConfig) (*Outbox, error) {
	switch {
	case config.Codec == nil:
		return nil, errNoCodec
	case config.Codec.Properties().UsesState:
		return nil, errState
	}
	o := &Outbox{hub: h, receiver: receiver{codec: config.Codec, echo: config.Echo, lasts: true}}
	o.receiver.tally = &o.counts
	o.receiver.queue.begin(config.Queue, &o.counts)
	o.receiver.queue.lasts, o.receiver.queue.detached = true, true
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outboxes[o] = struct{}{}
	h.receiverSet.Store(nil)
	return o, nil
}

// Stats returns the frames that wait, and the counters since the Outbox was made.
func (o *Outbox) Stats() MemberStats {
	s := MemberStats{MemberCounts: o.counts.all()}
	s.QueuedFrames, s.QueuedBytes = o.receiver.queue.held()
	return s
}

// Connected reports whether the Outbox has a member that writes its frames.
func (o *Outbox) Connected() bool { return o.receiver.member.Load() != nil }

// Close ends the Outbox. Its last member must be over. Frames left in the queue are dropped and counted.
func (o *Outbox) Close() {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	if _, ok := o.hub.outboxes[o]; ok {
		delete(o.hub.outboxes, o)
		o.hub.receiverSet.Store(nil)
		if o.hub.drain != nil || o.hub.ending != "" {
			o.receiver.queue.cut()
		}
		o.receiver.queue.close()
		o.hub.gone.add(o.counts.all())
	}
}

// attach makes m the member that writes the queued frames.
func (r *receiver) attach(m *Member) {
	r.queue.attach()
	r.member.Store(m)
}

// detach ends the writing of m. Frames queued in an outbox stay, except if m was disconnected by its policy: then they are
// dropped.
func (r *receiver) detach(m *Member, reason Reason) {
	if !r.lasts {
		r.queue.close()
		return
	}
	r.queue.detach(reason == SlowReceiver)
	r.member.CompareAndSwap(m, nil)
}

// acknowledged waits, if the peer has ended its own direction and so may be gone, until the peer's kernel has acknowledged all
// written bytes. If that fails, the bytes count as not written, and the member is over.
func (p *streamTransport) acknowledged() error {
	if !p.lasts || p.inputEnded.Load() == 0 {
		return nil
	}
	p.writeSince.Store(p.clock.now())
	defer p.writeSince.clear()
	err := p.link.Flush(p.Member.ctx)
	if err == nil {
		return nil
	}
	p.wrote = 0
	if p.over() {
		return errOver
	}
	return p.failed("write", err, ToMember)
}

// finish ends the member's writer: after everything in the queue is written, or at once if an outbox keeps the rest for the next
// member.
func (m *Member) finish() {
	if m.lasts {
		m.queue.detach(false)
	} else {
		m.queue.seal()
	}
}

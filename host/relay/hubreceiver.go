package relay

import (
	"fmt"
	"sync/atomic"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A receiver is what the frames of a hub go to: a member, or an [Outbox], whichever member it has at the time.
type receiver struct {
	codec  codeccall.Codec // nil: a datagram is a payload
	echo   bool            // it gets the frames of its own member too
	queue  queue
	tally  *hubCounters           // of what becomes of the frames on their way
	recent *recent                // nil: it is not one that both sends and receives datagrams
	member atomic.Pointer[Member] // that writes what is queued; nil: an outbox without a connection
	lasts  bool                   // it is an outbox
}

// hears reports whether the receiver gets what sender sends.
func (r *receiver) hears(sender *Member) bool { return r.member.Load() != sender || r.echo }

// force gives s to the queue, which drops what its policy says where there is no room. A member whose policy is Disconnect
// may be over then.
func (r *receiver) force(s segment) {
	refused := r.queue.push(s)
	if m := r.member.Load(); refused.len() > 0 && m != nil {
		m.end(SlowReceiver, fmt.Errorf("relay: to member: %d frames, %d bytes, and a queue of at most %d frames and %d bytes",
			refused.len(), refused.size(), r.queue.limit.Frames, r.queue.limit.Bytes), ToMember)
	}
}

// An Outbox is a receiver of a hub that outlasts its connections: an endpoint that is dialed again when its connection ends.
// What comes for it waits in its queue, also while there is no connection.
//
// Then the queue's policy applies once it is full: DropOldest and DropNewest as ever; with Block senders wait; and with
// Disconnect, whose receivers see no gap in a stream, all that waits gives way to what comes.
//
// When a connection breaks, frames that the system has not taken whole are written again, whole, to the next one; those that
// it has taken count as sent. After the peer has ended its own direction, which may mean that it is gone, a frame
// counts as sent only once the peer's system has acknowledged it. What the policy drops, and what is left at the end, counts
// as dropped.
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

// Outbox adds a receiver that gets what is sent from now on, until Close. It fails without a codec, or with one that uses
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
	h.audience.Store(nil)
	return o, nil
}

// Stats returns what waits, and what was dropped since the Outbox was made.
func (o *Outbox) Stats() MemberStats {
	s := MemberStats{MemberCounts: o.counts.all()}
	s.QueuedFrames, s.QueuedBytes = o.receiver.queue.held()
	return s
}

// Connected reports whether there is a member that takes what waits.
func (o *Outbox) Connected() bool { return o.receiver.member.Load() != nil }

// Close ends the Outbox, when its last member is over. What is left in the queue is dropped, and counted.
func (o *Outbox) Close() {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	if _, ok := o.hub.outboxes[o]; ok {
		delete(o.hub.outboxes, o)
		o.hub.audience.Store(nil)
		if o.hub.drain != nil || o.hub.ending != "" {
			o.receiver.queue.cut()
		}
		o.receiver.queue.close()
		o.hub.gone.add(o.counts.all())
	}
}

// attach makes m the member that writes what is queued.
func (r *receiver) attach(m *Member) {
	r.queue.attach()
	r.member.Store(m)
}

// detach ends the writing of m. What is queued in an outbox stays, unless nothing of it may follow what m has written.
func (r *receiver) detach(m *Member, reason Reason) {
	if !r.lasts {
		r.queue.close()
		return
	}
	r.queue.detach(reason == SlowReceiver)
	r.member.CompareAndSwap(m, nil)
}

// acknowledged waits, once the peer has ended its own direction, until its system has acknowledged what was written: for
// it may be gone. If it never will, nothing of that counts as written, and the member is over.
func (p *streamPort) acknowledged() error {
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
	return p.linkFailed("write", err, ToMember)
}

// finish lets the member's writer come to an end: when everything is written, or, where an outbox keeps the rest for the
// next member, at once.
func (m *Member) finish() {
	if m.lasts {
		m.queue.detach(false)
	} else {
		m.queue.seal()
	}
}

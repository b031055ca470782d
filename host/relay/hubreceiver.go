package relay

import (
	"fmt"
	"sync/atomic"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A receiver gets frames from a hub. It is a member, or an [Outbox] with its current member, if it has one.
type receiver struct {
	codec      codeccall.Codec // nil: each payload is sent as a datagram
	echo       bool            // the receiver also gets the frames of its own member
	queue      queue
	tally      *hubCounters           // counts what happens to frames for this receiver
	echoFilter *echoFilter            // nil, unless the member both sends and receives datagrams
	member     atomic.Pointer[Member] // the member that writes the queued frames; nil: an outbox without a connection
	ofOutbox   bool                   // the receiver is an outbox
}

// hears reports whether the receiver gets the frames of sender.
func (r *receiver) hears(sender *Member) bool { return r.member.Load() != sender || r.echo }

// force pushes s to the queue, which drops frames by its policy if there is no room. With the policy Disconnect, force ends the
// member if frames were dropped.
func (r *receiver) force(s frameRange) {
	refused := r.queue.push(s)
	if m := r.member.Load(); refused.len() > 0 && m != nil {
		m.end(SlowReceiver, fmt.Errorf("relay: to member: %d frames, %d bytes, and a queue of at most %d frames and %d bytes",
			refused.len(), refused.size(), r.queue.limit.Frames, r.queue.limit.Bytes), ToMember)
	}
}

// An Outbox is a receiver of a hub that outlasts its connections. It is for an endpoint that is dialed again whenever its
// connection ends. Frames wait in its queue, even while it has no connection. Its methods are safe for concurrent use.
//
// While there is no connection, the queue's policy applies once the queue is full: DropOldest and DropNewest drop frames as usual;
// with Block, senders wait; with Disconnect, all waiting frames are dropped to make room for new ones, so that no stream has a gap.
//
// When a connection breaks, the frames that the kernel has not accepted whole are written again, from their first byte, to the
// next connection. All other frames count as sent. After the peer has ended its own direction, the peer may be gone, so a frame
// then counts as sent only when the peer's kernel has acknowledged it. Frames that the policy drops, and frames that are left when
// the Outbox closes, count as dropped.
type Outbox struct {
	hub      *Hub
	receiver receiver
	counts   hubCounters
}

// OutboxConfig describes an Outbox.
type OutboxConfig struct {
	Codec codeccall.Codec // the codec of its members
	Queue Queue
	Echo  bool // send frames of its own member to it too
}

// Outbox adds a receiver that gets all frames that members send from now on, until Close. It returns an error if config has no codec, or
// if the codec uses state.
func (h *Hub) Outbox(config OutboxConfig) (*Outbox, error) {
	switch {
	case config.Codec == nil:
		return nil, errNoCodec
	case config.Codec.Properties().UsesState:
		return nil, errState
	}
	o := &Outbox{hub: h, receiver: receiver{codec: config.Codec, echo: config.Echo, ofOutbox: true}}
	o.receiver.tally = &o.counts
	o.receiver.queue.begin(config.Queue, &o.counts)
	o.receiver.queue.ofOutbox, o.receiver.queue.detached = true, true
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outboxes[o] = struct{}{}
	h.receiverSet.Store(nil)
	return o, nil
}

// Stats returns the number of frames that wait, and the counts since the Outbox was created.
func (o *Outbox) Stats() MemberStats {
	s := MemberStats{MemberCounts: o.counts.all()}
	s.QueuedFrames, s.QueuedBytes = o.receiver.queue.held()
	return s
}

// Connected reports whether the Outbox has a member, which writes its frames.
func (o *Outbox) Connected() bool { return o.receiver.member.Load() != nil }

// Close removes the Outbox from its hub. The last member of the Outbox must be over. Frames left in the queue are dropped and
// counted. Further calls do nothing.
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

// detach stops the writing of m. Frames in the queue of an outbox stay, unless m ended as a SlowReceiver: then they are dropped. All
// other queues are closed.
func (r *receiver) detach(m *Member, reason Reason) {
	if !r.ofOutbox {
		r.queue.close()
		return
	}
	r.queue.detach(reason == SlowReceiver)
	r.member.CompareAndSwap(m, nil)
}

// acknowledged returns after the peer's kernel has acknowledged all written bytes, for a member of an outbox whose peer has ended
// its own direction and so may be gone. For others it returns at once. If the acknowledgement fails, the bytes count as not
// written, and the member ends.
func (p *streamTransport) acknowledged() error {
	if !p.ofOutbox || p.inputEnded.Load() == 0 {
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

// finish ends the member's writer: after it has written everything in the queue, or at once if an outbox keeps the rest for the
// next member.
func (m *Member) finish() {
	if m.ofOutbox {
		m.queue.detach(false)
	} else {
		m.queue.seal()
	}
}

package relay

import "time"

// A hubDrain is a drain that waits for its hub to rest.
type hubDrain struct {
	reason Reason
	since  time.Time
	timer  *time.Timer // of the next look
}

// Drain ends the hub, with reason, once it rests: when no member has received anything for a second, no frame is unfinished, and
// all queues are empty. Then the hub ends as by [Hub.End]. Until then members go on as before; only members of an [Outbox] may
// still join. Datagram members that any peer may send to (without [DatagramMember].Answers) stop receiving at once, just as
// listeners stop accepting.
//
// Drain does not wait. When the context of a member's Run ends with the cause [DrainTimeout], the member is cut: its peer is
// reset, and frames in its queue and bytes that were read and not passed on count as not delivered.
func (h *Hub) Drain(reason Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" || h.drain != nil {
		return
	}
	h.drain = &hubDrain{reason: reason, since: time.Now()}
	for m := range h.members {
		h.drain.admit(m)
	}
	h.drain.timer = time.AfterFunc(0, h.lookAtDrain)
}

// admit lets m go on during the drain.
func (d *hubDrain) admit(m *Member) { m.deaf = m.transport.forAll() }

// lookAtDrain is the timer's callback: it ends the hub if the hub rests, and else starts the timer again.
func (h *Hub) lookAtDrain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" {
		return
	}
	if wait := h.unrest(); wait > 0 {
		h.drain.timer.Reset(wait)
		return
	}
	h.endAll(h.drain.reason)
}

// unrest returns the time after which the hub may rest at the earliest; 0: it rests now. The caller holds h.mu.
func (h *Hub) unrest() time.Duration {
	since, quiet := h.drain.since, true
	rests := h.passing == 0
	for m := range h.members {
		rests = rests && m.queue.rests()
		if !m.mayBring() {
			continue
		}
		rests, quiet = rests && (m.endless || m.between.Load() && !m.transport.unread()), false
		if heard := m.readAt.Load(); heard != 0 {
			if at := m.clock.origin.Add(time.Duration(heard)); at.After(since) {
				since = at
			}
		}
	}
	for o := range h.outboxes {
		rests = rests && o.receiver.queue.rests()
	}
	if left := quietTime - time.Since(since); !quiet && left > 0 {
		return left
	}
	if !rests {
		return restTime
	}
	return 0
}

// mayBring reports whether the member may still receive something to pass on.
func (m *Member) mayBring() bool {
	return m.config.Use != SendOnly && !m.deaf && m.inputEnded.Load() == 0
}

// wasCut reports whether the member ended because a drain did not finish in time.
func (m *Member) wasCut() bool {
	reason, _, _ := m.decided()
	return reason == DrainTimeout
}

// Drain lets the member, a stream, end with reason once it rests, while the hub goes on: as by [Member.End], once nothing has come
// from its peer for a second, no frame is unfinished, and nothing lies unread. Until then the member goes on as before. What
// others send it does not hold up the end, since a frame's end is as good as any other: what is in its queue is still
// written, unless an [Outbox] keeps it for the next member.
//
// Drain does not wait, and may be called before Run. What is left when the context of Run ends with the cause [DrainTimeout] is
// cut, as it is by [Hub.Drain].
func (m *Member) Drain(reason Reason) {
	m.hub.mu.Lock()
	if m.drainSince.Load() == 0 {
		m.drainsFor = reason
		m.drainSince.Store(m.clock.now())
	}
	m.hub.mu.Unlock()
	m.clock.wake()
}

// lookAtDrain is the clock's look at a member that is to end once it rests.
func (m *Member) lookAtDrain(d *deadline) {
	since := m.drainSince.Load()
	if since == 0 || m.drained() || m.over() {
		return
	}
	if wait := m.unrest(since); wait > 0 {
		d.again(wait)
	}
}

// unrest ends the member if it rests. Otherwise it returns how long it can't be at rest at least.
func (m *Member) unrest(since int64) time.Duration {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if m.mayBring() {
		quiet := deadline{now: m.clock.now()}
		if !quiet.due(quietTime, max(since, m.readAt.Load())) {
			return quiet.wait
		}
		if m.passing || !m.between.Load() || m.transport.unread() {
			return restTime
		}
	}
	m.endNow(m.drainsFor)
	return 0
}

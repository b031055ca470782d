package relay

import "time"

// A hubDrain is a drain that waits for its hub to rest.
type hubDrain struct {
	reason Reason
	since  time.Time
	timer  *time.Timer // of the next call of checkDrain
}

// Drain ends the hub, with reason, once the hub rests: when no member has received anything for one second, no frame is
// unfinished, and all queues are empty. Then the hub ends as with [Hub.End]. Until then members go on as before, but new members
// can join only if they have an [Outbox]. Datagram members to which any peer may send (without [DatagramMember].Answers) stop
// receiving at once, just as listeners stop accepting.
//
// Drain does not wait. When the context of a member's Run ends with the cause [DrainTimeout], the member is cut: its peer is
// reset. Frames in its queue, and bytes that it had read and not passed on, count as not delivered.
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
	h.drain.timer = time.AfterFunc(0, h.checkDrain)
}

// admit prepares m for the drain: a datagram member to which any peer may send stops receiving.
func (d *hubDrain) admit(m *Member) { m.stoppedReceiving = m.transport.forAll() }

// checkDrain is the timer's callback: it ends the hub if the hub rests, and otherwise restarts the timer.
func (h *Hub) checkDrain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending != "" {
		return
	}
	if wait := h.timeToRest(); wait > 0 {
		h.drain.timer.Reset(wait)
		return
	}
	h.endAll(h.drain.reason)
}

// timeToRest returns how long it takes at least until the hub can rest; 0: the hub rests now. The caller holds h.mu.
func (h *Hub) timeToRest() time.Duration {
	since, quiet := h.drain.since, true
	rests := h.passing == 0
	for m := range h.members {
		rests = rests && m.queue.rests()
		if !m.mayReceive() {
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

// mayReceive reports whether the member may still receive bytes to pass on.
func (m *Member) mayReceive() bool {
	return m.config.Use != SendOnly && !m.stoppedReceiving && m.inputEnded.Load() == 0
}

// wasCut reports whether the member ended because a drain did not finish in time.
func (m *Member) wasCut() bool {
	reason, _, _ := m.decided()
	return reason == DrainTimeout
}

// Drain ends the member, which must be a stream, with reason once the member rests, while the hub goes on. The member rests when
// nothing has arrived from its peer for one second, no frame is unfinished, and no byte is unread. Then it ends as with
// [Member.End]. Until then the member goes on as before. Frames that others send to the member do not delay its end: frames in its
// queue are still written, unless an [Outbox] keeps them for the next member.
//
// Drain does not wait, and may be called before Run. If the context of Run ends with the cause [DrainTimeout] first, the member is
// cut, as with [Hub.Drain].
func (m *Member) Drain(reason Reason) {
	m.hub.mu.Lock()
	if m.drainSince.Load() == 0 {
		m.drainsFor = reason
		m.drainSince.Store(m.clock.now())
	}
	m.hub.mu.Unlock()
	m.clock.wake()
}

// checkDrain ends the member if it is to end and rests. The clock calls it.
func (m *Member) checkDrain(d *deadline) {
	since := m.drainSince.Load()
	if since == 0 || m.drained() || m.over() {
		return
	}
	if wait := m.endIfRests(since); wait > 0 {
		d.again(wait)
	}
}

// endIfRests ends the member if the member rests, and returns 0. Otherwise it returns how long it takes at least until the member
// can rest.
func (m *Member) endIfRests(since int64) time.Duration {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if m.mayReceive() {
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

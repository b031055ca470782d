package relay

import "time"

// A hubDrain is a drain that waits for its hub to rest.
type hubDrain struct {
	reason Reason
	since  time.Time
	timer  *time.Timer // of the next look
}

// Drain lets the hub end, with reason, once it rests; until then members go on as before, but none joins except those of an
// [Outbox]. It rests when nothing has come from any member for a second, no frame is unfinished, and all queues are empty;
// then it ends as by [Hub.End]. Places of datagrams to which anybody may send (without [DatagramMember].Answers) receive no
// more at once, as listeners accept no more.
//
// Drain does not wait. What is left when the context of a member's Run ends with the cause [DrainTimeout] is cut: its peer
// is reset, and what was in its queue, or had been read and was not passed on, counts as not delivered.
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
func (d *hubDrain) admit(m *Member) { m.deaf = m.port.forAll() }

// lookAtDrain ends the hub if it rests, or looks again later.
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

// unrest returns how long the hub can't be at rest at least; 0: it is. The caller has the lock.
func (h *Hub) unrest() time.Duration {
	since, quiet := h.drain.since, true
	rests := h.passing == 0
	for m := range h.members {
		rests = rests && m.queue.rests()
		if !m.mayBring() {
			continue
		}
		rests, quiet = rests && (m.endless || m.between.Load() && !m.port.unread()), false
		if heard := m.heard.Load(); heard != 0 {
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

// mayBring reports whether something may still come from the member that is to be passed on.
func (m *Member) mayBring() bool {
	return m.config.Use != SendOnly && !m.deaf && m.inputEnded.Load() == 0
}

// wasCut reports whether a drain that came to no end ended the member.
func (m *Member) wasCut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.result.Reason == DrainTimeout
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
		if !quiet.due(quietTime, max(since, m.heard.Load())) {
			return quiet.wait
		}
		if m.passing || !m.between.Load() || m.port.unread() {
			return restTime
		}
	}
	m.endNow(m.drainsFor)
	return 0
}

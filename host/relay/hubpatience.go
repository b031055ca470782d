package relay

import (
	"slices"
	"time"
)

// recheckInterval is the interval at which a sender that waits for receivers checks them.
const recheckInterval = 5 * time.Millisecond

// A backlog is the part of a sender's current batch for which a receiver's queue had no room.
type backlog struct {
	to   *receiver
	rest []frameRange // the backlog holds each of them
}

// offer adds as much of s to the queue of r as fits, and the rest to the backlog of r.
func (d *dispatcher) offer(r *receiver, s frameRange) {
	i := slices.IndexFunc(d.late, func(b backlog) bool { return b.to == r })
	if i < 0 {
		if s = r.queue.fill(s, d.room); s.len() == 0 {
			return
		}
		i = len(d.late)
		d.late = append(d.late, backlog{to: r})
	}
	s.hold()
	d.late[i].rest = append(d.late[i].rest, s)
}

// catchUp moves all backlogs to the queues of their receivers. For each receiver it waits until the queue has room for the whole
// backlog, or until the sender no longer waits for that receiver. Meanwhile it fills all of these queues, so that no receiver waits
// for another.
func (d *dispatcher) catchUp() {
	if len(d.late) == 0 {
		return
	}
	timer := time.NewTimer(recheckInterval)
	defer timer.Stop()
	for {
		now := time.Now()
		d.waiting.enter(now, shareAll)
		left := d.late[:0]
		for _, b := range d.late {
			if b.fill(d.room); len(b.rest) > 0 && d.awaits(b.to, now) {
				left = append(left, b)
				continue
			}
			b.force()
		}
		clear(d.late[len(left):])
		if d.late = left; len(left) == 0 {
			d.waiting.waiting = false
			return
		}
		select {
		case <-d.room:
		case <-timer.C:
			timer.Reset(recheckInterval)
		case <-d.member.ctx.Done():
			d.giveUp()
			return
		}
	}
}

// giveUp drops all backlogs, because the sender is over.
func (d *dispatcher) giveUp() {
	for _, b := range d.late {
		for _, s := range b.rest {
			b.to.queue.drop(s)
			d.member.counts.framesNotDelivered.Add(int64(s.len()))
			d.member.counts.bytesNotDelivered.Add(int64(s.size()))
			s.release()
		}
	}
	clear(d.late)
	d.late = d.late[:0]
}

// fill moves as much of the backlog to the queue as fits.
func (b *backlog) fill(room chan<- struct{}) {
	for len(b.rest) > 0 {
		rest := b.to.queue.fill(b.rest[0], room)
		if rest.len() > 0 {
			b.rest[0] = rest
			return
		}
		b.rest[0].release()
		b.rest = b.rest[1:]
	}
	b.to.queue.caughtUp()
}

// force moves the whole backlog to the queue. If there is no room, the queue drops frames by its policy.
func (b *backlog) force() {
	for _, s := range b.rest {
		b.to.force(s)
		s.release()
	}
	b.rest = nil
}

// awaits reports whether the sender waits for room in the queue of r.
func (d *dispatcher) awaits(r *receiver, now time.Time) bool {
	if r.queue.limit.Policy == Block {
		return true
	}
	m := r.member.Load()
	if m == nil {
		return false
	}
	stalled, patience := m.transport.stalled(), m.hub.Patience
	if stalled && d.waiting.sum >= burst*patience {
		return false
	}
	ok := m.queue.await(now, stalled, m.counts.bytesWritten.Load(), patience)
	d.waiting.waiting = d.waiting.waiting || stalled && ok
	return ok
}

// A grace limits how long senders wait for a stalled receiver: one whose connection accepts no bytes.
type grace struct {
	behind  bool      // the receiver has fallen behind: until its queue has been empty, no sender waits for it
	since   time.Time // when the receiver stalled; zero: it is not stalled
	written int64     // bytes that the connection had accepted by then
	waiting account   // the time that senders spent waiting for the receiver
}

// An account sums up time spent waiting. Time spent without waiting reduces the sum.
type account struct {
	sum     time.Duration
	at      time.Time // the last call of enter
	waiting bool      // the time since then is spent waiting
}

// A sender may spend burst times the patience waiting for stalled receivers. After that, for each unit of time that it does not
// wait, it may wait shareOne units for one receiver, and shareAll units for all stalled receivers together.
const (
	burst    = 2
	shareOne = 1
	shareAll = 3
)

// await reports whether a sender waits for room. stalled says whether the connection accepts no bytes at the moment, and written is
// the number of bytes that it has accepted so far.
func (q *queue) await(now time.Time, stalled bool, written int64, patience time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.detached {
		return false // no writer takes frames from the queue
	}
	g := &q.grace
	g.waiting.enter(now, shareOne)
	if !stalled {
		g.since = time.Time{}
		return true
	}
	if g.since.IsZero() || g.written != written {
		g.since, g.written = now, written
	}
	g.behind = g.behind || now.Sub(g.since) >= patience || g.waiting.sum >= burst*patience
	g.waiting.waiting = !g.behind
	return !g.behind
}

// caughtUp notes that the sender has stopped waiting for the receiver.
func (q *queue) caughtUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.grace.waiting.waiting {
		q.grace.waiting.enter(time.Now(), shareOne)
	}
}

// enter adds the time since its last call to the sum if that time was spent waiting. Otherwise it subtracts share times that time,
// down to 0.
func (a *account) enter(now time.Time, share int64) {
	passed := now.Sub(a.at)
	switch {
	case a.waiting:
		a.sum += passed
	case passed < a.sum: // so that the product does not overflow
		a.sum -= min(a.sum, time.Duration(share*int64(passed)))
	default:
		a.sum = 0
	}
	a.at, a.waiting = now, false
}

package relay

import (
	"slices"
	"time"
)

// lookAgain is after how long a sender that waits for receivers looks at them again, if none has made room.
const lookAgain = 5 * time.Millisecond

// A backlog is what a receiver's queue had no room for, of the batch that a sender has at hand.
type backlog struct {
	to   *receiver
	rest []segment // each held
}

// offer gives s to the queue of r as far as there is room, and puts the rest into the backlog of r.
func (d *dispatcher) offer(r *receiver, s segment) {
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

// catchUp waits until the queues of late receivers had room for the whole batch, or until they are waited for no longer.
// All of them fill up again meanwhile, so that none waits for another.
func (d *dispatcher) catchUp() {
	if len(d.late) == 0 {
		return
	}
	timer := time.NewTimer(lookAgain)
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
			timer.Reset(lookAgain)
		case <-d.member.ctx.Done():
			d.giveUp()
			return
		}
	}
}

// giveUp drops what late receivers did not get from a sender that is over.
func (d *dispatcher) giveUp() {
	for _, b := range d.late {
		for _, s := range b.rest {
			b.to.queue.drop(s)
			d.member.counts.framesNotDelivered.Add(int64(s.len()))
			d.member.counts.bytesNotDelivered.Add(int64(s.size()))
			s.letGo()
		}
	}
	clear(d.late)
	d.late = d.late[:0]
}

// fill moves what there is room for to the queue.
func (b *backlog) fill(room chan<- struct{}) {
	for len(b.rest) > 0 {
		rest := b.to.queue.fill(b.rest[0], room)
		if rest.len() > 0 {
			b.rest[0] = rest
			return
		}
		b.rest[0].letGo()
		b.rest = b.rest[1:]
	}
	b.to.queue.caughtUp()
}

// force moves everything to the queue, which drops what its policy says.
func (b *backlog) force() {
	for _, s := range b.rest {
		b.to.force(s)
		s.letGo()
	}
	b.rest = nil
}

// awaits reports whether the sender waits for r to make room in its queue.
func (d *dispatcher) awaits(r *receiver, now time.Time) bool {
	if r.queue.limit.Policy == Block {
		return true
	}
	m := r.member.Load()
	if m == nil {
		return false
	}
	stalled, patience := m.port.stalled(), m.hub.Patience
	if stalled && d.waiting.sum >= burst*patience {
		return false
	}
	ok := m.queue.await(now, stalled, m.counts.bytesWritten.Load(), patience)
	d.waiting.waiting = d.waiting.waiting || stalled && ok
	return ok
}

// A grace bounds how long senders wait for a receiver whose connection takes nothing at the moment.
type grace struct {
	behind  bool      // they waited in vain, and wait no more until the queue has been empty
	since   time.Time // when it was first seen that the connection takes nothing; zero: it does
	written int64     // bytes that it had taken then
	waiting account
}

// An account sums up time that was spent waiting, less what has passed otherwise.
type account struct {
	sum     time.Duration
	at      time.Time // of the last entry
	waiting bool      // since then
}

// A sender waits for stalled receivers for that many times its patience, and after that for that many parts of the time for
// each part that it does not: for one of them, and for all together.
const (
	burst    = 2
	shareOne = 1
	shareAll = 3
)

// await reports whether a sender waits for room. stalled says that the connection takes nothing at the moment, and written
// how many bytes it has taken so far.
func (q *queue) await(now time.Time, stalled bool, written int64, patience time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
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

// caughtUp notes that a sender does not wait for the receiver any more.
func (q *queue) caughtUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.grace.waiting.waiting {
		q.grace.waiting.enter(time.Now(), shareOne)
	}
}

// enter accounts for the time since the last entry, of which share parts may be spent waiting for each part that is not.
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

package discovery

import "time"

// A history is what makes an old packet of one identity known as old.
type history struct {
	sequence uint64 // of the latest packet
	sent     int64  // when that says it was sent, in milliseconds
	ahead    int64  // how far that clock is ahead of ours, in milliseconds, as far as a nonce has proved it
}

// check returns why m is not news, if it is not. proven says that it echoes a nonce of ours; a window of 0 that its time
// does not matter. now is our clock, in milliseconds. h is zero for an identity that was not heard before.
func (h *history) check(m *message, proven bool, now int64, window time.Duration) error {
	switch off := m.sent - now - h.ahead; {
	case m.sequence <= h.sequence:
		return ErrRepeated
	case window > 0 && !proven && max(off, -off) > window.Milliseconds():
		return ErrStale
	}
	return nil
}

// note takes m, which check let pass, as the latest.
func (h *history) note(m *message, proven bool, now int64) {
	h.sequence, h.sent = m.sequence, m.sent
	if proven {
		h.ahead = m.sent - now
	}
}

// A tomb is the history of an identity that is gone.
type tomb struct {
	history
	until int64 // our clock, in milliseconds: from then on, its latest packet would be out of its time
}

// tombs remember those that are gone, so that packets recorded while they lived don't bring them back. At most limit are
// remembered; those that could be done without soonest are forgotten first. Without a window, where the time of packets
// does not matter, DefaultWindow is how long a late packet is expected.
type tombs struct {
	all    map[ID]tomb
	limit  int
	window time.Duration
}

func (t *tombs) bury(id ID, h history, now int64) {
	for other, buried := range t.all {
		if buried.until < now {
			delete(t.all, other)
		}
	}
	for len(t.all) >= t.limit {
		var first ID
		until := int64(maxSent) * 2
		for other, buried := range t.all {
			if buried.until < until {
				first, until = other, buried.until
			}
		}
		delete(t.all, first)
	}
	until := now + DefaultWindow.Milliseconds()
	if t.window > 0 {
		// Of a clock that was ahead, packets come into the window only later.
		until = max(now, h.sent) + t.window.Milliseconds()
	}
	t.all[id] = tomb{h, until}
}

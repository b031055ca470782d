package discovery

import "time"

// A history holds what is needed to recognize old packets of one identity.
type history struct {
	sequence uint64 // of the latest packet
	sent     int64  // its time by the sender's clock, in milliseconds since 1970
	ahead    int64  // how far the sender's clock is ahead of ours, in milliseconds, as last proved by a nonce; else 0
}

// check returns ErrRepeated or ErrStale if m is old, otherwise nil. proven says that m echoes a nonce of ours, so that its
// time is not checked; nor is it with a window of 0. now is our clock, in milliseconds since 1970. h is zero for an identity
// that was not heard before.
func (h *history) check(m *message, proven bool, now int64, window time.Duration) error {
	switch off := m.sent - now - h.ahead; {
	case m.sequence <= h.sequence:
		return ErrRepeated
	case window > 0 && !proven && max(off, -off) > window.Milliseconds():
		return ErrStale
	}
	return nil
}

// note records m, which check has accepted, as the latest packet.
func (h *history) note(m *message, proven bool, now int64) {
	h.sequence, h.sent = m.sequence, m.sent
	if proven {
		h.ahead = m.sent - now
	}
}

// A tombstone is the history of a service that is gone.
type tombstone struct {
	history
	until int64 // by our clock, in milliseconds since 1970: after that, its latest packet would be stale
}

// tombstones keep the histories of services that are gone, so that a replay of their packets does not bring them back. There
// are at most limit; the one with the earliest until is dropped first. If window is 0, packets are not checked for their
// time, and a history is kept for DefaultWindow, for packets that arrive late.
type tombstones struct {
	all    map[ID]tombstone
	limit  int
	window time.Duration
}

func (t *tombstones) add(id ID, h history, now int64) {
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
		// If the sender's clock was ahead, its packets are within the window for longer.
		until = max(now, h.sent) + t.window.Milliseconds()
	}
	t.all[id] = tombstone{h, until}
}

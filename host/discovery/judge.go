package discovery

import (
	"net/netip"
	"slices"
	"time"
)

// heard handles an announcement or a goodbye. It implements member.
func (b *Browser) heard(m *message, from Origin) error {
	if m.kind == query || slices.Contains(b.options.Ignore, m.id) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now) // Run may be blocked in Changed
	e := b.live[m.id]
	wanted := b.options.Service == "" || string(m.service) == b.options.Service
	if e == nil && m.kind == announce && !wanted {
		return nil
	}
	err := b.judge(e, m, from, now)
	switch err {
	case nil:
		b.stats.Accepted++
	case ErrRepeated:
		b.stats.Repeated++
	case ErrStale:
		b.stats.Stale++
		b.askBecauseStale(now)
	case ErrFull:
		b.stats.Full++
	case ErrUnreachable:
		b.stats.Unreachable++
	}
	return err
}

// judge applies m, or returns why m is ignored. e is the entry of m's identity, or nil.
func (b *Browser) judge(e *entry, m *message, from Origin, now time.Time) error {
	past, proven, clock := b.tombstones.all[m.id].history, b.proves(m, now), b.station.now()
	if e != nil {
		past = e.history
	}
	if err := past.check(m, proven, clock, b.window); err != nil {
		if e != nil && m.sequence == e.sequence && from.same(e.found.Origin) {
			e.confirmed = m.sequence
		}
		return err
	}
	past.note(m, proven, clock)
	switch {
	case e != nil && (m.kind == goodbye || b.options.Service != "" && string(m.service) != b.options.Service):
		e.history = past
		b.remove(m.id, Left)
		return nil
	case m.kind == goodbye:
		b.tombstones.add(m.id, past, clock)
		return nil
	case e == nil:
		return b.add(m, from, past, now)
	}
	// The service still sends from its Origin if m, or a copy of the packet before m, came from there.
	stays := from.same(e.found.Origin) || e.confirmed >= e.sequence
	e.history = past
	return b.update(e, m, from, stays, now)
}

// proves reports whether m echoes the nonce of a recent query of b, which proves that m is fresh.
func (b *Browser) proves(m *message, now time.Time) bool {
	if m.kind != announce {
		return false
	}
	for i := 0; i < len(m.nonces); i += nonceSize {
		if at, ok := b.asked[nonce(m.nonces[i:i+nonceSize])]; ok && now.Sub(at) <= nonceLife {
			return true
		}
	}
	return false
}

// askBecauseStale makes Run send a query, so that a sender whose clock is wrong can prove that its packets are fresh.
func (b *Browser) askBecauseStale(now time.Time) {
	if b.stale.IsZero() || now.Sub(b.stale) >= staleSpacing {
		b.stale = now
		b.scheduled = now
		b.signal()
	}
}

// add adds a new service.
func (b *Browser) add(m *message, from Origin, past history, now time.Time) error {
	addresses := m.reachable(from)
	if len(addresses) == 0 {
		return ErrUnreachable
	}
	if len(b.live) >= b.options.MaxServices || b.countFrom(from.Address.Addr()) >= b.options.MaxPerAddress {
		return ErrFull
	}
	delete(b.tombstones.all, m.id)
	e := b.entry(m, from, addresses)
	e.history = past
	e.heard(m, from, now)
	b.live[m.id] = e
	b.touch(m.id)
	return nil
}

func (b *Browser) countFrom(source netip.Addr) (n int) {
	for _, e := range b.live {
		if e.found.Origin.Address.Addr() == source {
			n++
		}
	}
	return n
}

// update applies an announcement of a known service. If stays, the service keeps its Origin.
func (b *Browser) update(e *entry, m *message, from Origin, stays bool, now time.Time) error {
	if string(m.raw) != e.record || !stays {
		origin := from
		if stays {
			origin = e.found.Origin
		}
		addresses := m.reachable(origin)
		if len(addresses) == 0 {
			return ErrUnreachable
		}
		changed := b.entry(m, origin, addresses)
		changed.history, changed.confirmed = e.history, e.confirmed
		e = changed
		b.live[m.id] = e
		b.touch(m.id)
	}
	e.heard(m, from, now)
	return nil
}

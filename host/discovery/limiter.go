package discovery

import (
	"net/netip"
	"time"
)

// What one source address is allowed: so many at once, and one more each perQuery.
const (
	queriesAtOnce = 4
	perQuery      = time.Second
	maxSources    = 256
)

// A limiter allows each source address a number of queries. Its zero value is ready.
type limiter struct {
	spent map[netip.Addr]time.Time // when the source's whole allowance is back
}

// allow reports whether a query from source is allowed now, and takes it from its allowance if so. A source that has
// its whole allowance is not remembered; where too many have not, a new one is allowed nothing.
func (l *limiter) allow(source netip.Addr, now time.Time) bool {
	back, known := l.spent[source]
	if !known && len(l.spent) >= maxSources {
		for s, back := range l.spent {
			if !back.After(now) {
				delete(l.spent, s)
			}
		}
		if len(l.spent) >= maxSources {
			return false
		}
	}
	if back.Before(now) {
		back = now
	}
	back = back.Add(perQuery)
	if back.Sub(now) > queriesAtOnce*perQuery {
		return false
	}
	if l.spent == nil {
		l.spent = map[netip.Addr]time.Time{}
	}
	l.spent[source] = back
	return true
}

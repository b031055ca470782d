package discovery

import (
	"maps"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Limits of queries.
const (
	queriesAtOnce = 4           // how many queries one source address may send at once
	perQuery      = time.Second // the time after which it may send another
	maxSources    = 256         // how many source addresses are remembered
)

// A limiter limits the queries of each source address. Its zero value is ready to use.
type limiter struct {
	sources map[netip.Addr]*rate.Limiter
}

// allow reports whether a query from source is allowed now, and counts it if so. At most maxSources addresses are
// remembered. To make room for a new one, addresses that may send queriesAtOnce again are dropped; if there are none, the
// query is not allowed.
func (l *limiter) allow(source netip.Addr, now time.Time) bool {
	one := l.sources[source]
	if one == nil {
		if len(l.sources) >= maxSources {
			maps.DeleteFunc(l.sources, func(_ netip.Addr, one *rate.Limiter) bool { return one.TokensAt(now) >= queriesAtOnce })
		}
		if len(l.sources) >= maxSources {
			return false
		}
		if l.sources == nil {
			l.sources = map[netip.Addr]*rate.Limiter{}
		}
		one = rate.NewLimiter(rate.Every(perQuery), queriesAtOnce)
		l.sources[source] = one
	}
	return one.AllowN(now, 1)
}

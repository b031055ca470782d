package discovery

import (
	"maps"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// The queries that one source address may make: so many at once, and one more each perQuery.
const (
	queriesAtOnce = 4
	perQuery      = time.Second
	maxSources    = 256
)

// A limiter limits the queries of each source address. Its zero value is ready for use.
type limiter struct {
	sources map[netip.Addr]*rate.Limiter
}

// allow reports whether a query from source may be made now, and counts it if so. At most maxSources addresses are remembered:
// those that have all of their queries left are forgotten for a new
// one, and if none has, the new one may make none.
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

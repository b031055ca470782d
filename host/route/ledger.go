package route

import (
	"maps"
	"slices"
	"sync"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A ledger is shared by all routes that have, or had, the same name.
type ledger struct {
	memory      *relay.Memory // the share of a route
	connections *endpoint.Connections
	pair        chan struct{} // holds a token while there is a pair of dialed connections

	mu         sync.Mutex
	routes     []*Route // routes that have not stopped, oldest first
	accepted   int64
	refused    int64
	closed     map[string]int64         // ended sessions by reason
	done       relay.Stats              // sums over ended sessions
	room       *room                    // the members of hubs; nil: none of the routes has been a hub
	turns      map[string]chan struct{} // see turnOf
	drains     []*Drain                 // drains that wait for sessions to end
	final      bool                     // FinalStatus has returned the counts
	violations violations               // the last ones
}

// newLedger returns a ledger with the limits of a route.
func newLedger(memory *relay.Memory, limits *config.Limits) *ledger {
	return &ledger{
		memory:      memory.Route(),
		connections: endpoint.NewConnections(limits.MaxConnections, limits.MaxConnectionsPerAddress),
		pair:        make(chan struct{}, 1), closed: map[string]int64{},
	}
}

// add makes l the ledger of r. It returns false if the last route with this ledger has stopped and its counts were returned.
func (l *ledger) add(r *Route) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final {
		return false
	}
	r.ledger = l
	l.routes = append(l.routes, r)
	return true
}

// allLive returns the live sessions of all routes with this ledger. The caller holds mu.
func (l *ledger) allLive() (all []liveSession) {
	for _, r := range l.routes {
		all = slices.AppendSeq(all, maps.Values(r.live))
	}
	return all
}

// turnOf returns the channel that lets only one side at a time connect to the dialed endpoint called name, among all hubs
// with this ledger. The side that is connected, or is connecting, has put a token into the channel.
func (l *ledger) turnOf(name string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns == nil {
		l.turns = map[string]chan struct{}{}
	}
	if l.turns[name] == nil {
		l.turns[name] = make(chan struct{}, 1)
	}
	return l.turns[name]
}

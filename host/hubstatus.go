package host

import (
	"time"

	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// HubStatus is what a route does that is a hub. Its counts are of all members, also of those that left.
type HubStatus struct {
	relay.MemberCounts
	Live []MemberStatus `json:"live"`
	// Away are endpoints that are dialed and have no connection now: what waits for it, and what was dropped since the
	// route started. Their ID is 0.
	Away      []MemberStatus   `json:"away,omitempty"`
	Datagrams []DatagramStatus `json:"datagrams,omitempty"`
}

// MemberStatus is a member of a hub: a connection, or a place of datagrams. Of its counts, what is read and in is from
// the member to the hub, and what is written and out is from the hub to the member. What the queue of a dialed endpoint
// dropped is counted since the route started, for the queue outlasts connections.
type MemberStatus struct {
	ID       uint64        `json:"id"`
	Endpoint string        `json:"endpoint"` // of the route, as it listens or dials
	Peer     string        `json:"peer"`     // "" for datagrams
	Codec    string        `json:"codec"`
	Age      time.Duration `json:"age_ns"`
	relay.MemberCounts
	HalfClosed   bool `json:"half_closed"` // the peer has ended its own direction, and may still receive
	QueuedFrames int  `json:"queued_frames"`
	QueuedBytes  int  `json:"queued_bytes"`
}

// DatagramStatus is what the system and the sockets of an endpoint did with datagrams, since it was opened.
type DatagramStatus struct {
	Endpoint        string `json:"endpoint"`
	DroppedBySystem uint64 `json:"dropped_by_system"` // were not read in time; told on Linux
	Truncated       uint64 `json:"truncated"`         // were cut on their way, and dropped
	Elsewhere       uint64 `json:"elsewhere"`         // came in by an interface that was not chosen, or for another group
	Strangers       uint64 `json:"strangers"`         // came from another address than the one that was dialled
	CopiesSent      uint64 `json:"copies_sent"`       // one for each network that a broadcast goes to
	CopiesNotSent   uint64 `json:"copies_not_sent"`
}

func (s *DatagramStatus) add(c *endpoint.DatagramConn) {
	if c == nil {
		return
	}
	stats := c.Stats()
	s.DroppedBySystem += stats.Dropped
	s.Truncated += stats.Truncated
	s.Elsewhere += stats.Elsewhere
	s.Strangers += stats.Strangers
	s.CopiesSent += stats.Sent
	s.CopiesNotSent += stats.Unsent
}

// FlowsStatus is the flows of a route that answers datagrams.
type FlowsStatus struct {
	Live      int            `json:"live"`
	Refused   uint64         `json:"refused"` // datagrams that would have begun one when there were udp.flows.max
	Dropped   uint64         `json:"dropped"` // datagrams that came faster than their upstream took them
	Datagrams DatagramStatus `json:"datagrams"`
}

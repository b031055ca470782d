package host

import (
	"time"

	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// HubStatus is the state of a route that is a hub. Its counts include members that have left.
type HubStatus struct {
	relay.MemberCounts
	Live []MemberStatus `json:"live"`
	// Away are the dialed endpoints that have no connection now, with the frames that wait for one and those dropped since
	// the route started. Their ID is 0.
	Away      []MemberStatus   `json:"away,omitempty"`
	Datagrams []DatagramStatus `json:"datagrams,omitempty"`
}

// MemberStatus is a member of a hub: a connection or a datagram endpoint. Counts named read and in are from the member to
// the hub, those named written and out from the hub to the member. The frames dropped by the queue of a dialed endpoint are
// counted since the route started, because the queue outlasts connections.
type MemberStatus struct {
	ID       uint64        `json:"id"`
	Endpoint string        `json:"endpoint"` // of the route, as it listens or dials
	Peer     string        `json:"peer"`     // "" for datagrams
	Codec    string        `json:"codec"`
	Age      time.Duration `json:"age_ns"`
	relay.MemberCounts
	HalfClosed   bool `json:"half_closed"` // the peer has ended its own direction and may still receive
	QueuedFrames int  `json:"queued_frames"`
	QueuedBytes  int  `json:"queued_bytes"`
}

// DatagramStatus counts datagrams at the sockets of an endpoint since it was opened. DroppedBySystem, Truncated, Elsewhere
// and Strangers count received datagrams that were dropped.
type DatagramStatus struct {
	Endpoint        string `json:"endpoint"`
	DroppedBySystem uint64 `json:"dropped_by_system"` // not read in time; known only on Linux
	Truncated       uint64 `json:"truncated"`         // truncated by the kernel
	Elsewhere       uint64 `json:"elsewhere"`         // received on an interface that was not chosen, or for another group
	Strangers       uint64 `json:"strangers"`         // from an address other than the dialed one
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

// FlowsStatus counts the flows of a route that answers datagrams.
type FlowsStatus struct {
	Live      int            `json:"live"`
	Refused   uint64         `json:"refused"` // datagrams that would have begun a flow beyond udp.flows.max
	Dropped   uint64         `json:"dropped"` // datagrams that came faster than the upstream accepted them
	Datagrams DatagramStatus `json:"datagrams"`
}

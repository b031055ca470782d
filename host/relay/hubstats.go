package relay

import (
	"sync/atomic"
	"time"
)

// MemberCounts counts the traffic of a member. In its FlowStats, "read" and "in" count traffic from the member to the hub; "written"
// and "out" count traffic from the hub to the member.
type MemberCounts struct {
	FlowStats
	DatagramsIn   int64 `json:"datagrams_in"`   // datagrams received, except our own
	DatagramsOut  int64 `json:"datagrams_out"`  // datagrams sent
	DroppedFrames int64 `json:"dropped_frames"` // frames that the member's queue dropped, or that were left in it at the end
	DroppedBytes  int64 `json:"dropped_bytes"`  // the wire of these frames
	Own           int64 `json:"own"`            // datagrams of our own that came back
	Suppressed    int64 `json:"suppressed"`     // frames that came back through another host
	NotSent       int64 `json:"not_sent"`       // datagrams that could not be sent
	Starved       int64 `json:"starved"`        // datagrams or frames dropped because there was no memory or the codec failed
}

// MemberStats counts the traffic of a member, and the frames that wait for it.
type MemberStats struct {
	Age time.Duration // since the member was made
	MemberCounts
	HalfClosed   bool `json:"half_closed"` // the peer has ended its own direction
	QueuedFrames int  `json:"queued_frames"`
	QueuedBytes  int  `json:"queued_bytes"` // of wire
}

// HubStats counts the traffic of all members of a hub, including those that have left.
type HubStats struct {
	Age time.Duration // since NewHub
	MemberCounts
	Members int `json:"members"`
}

// Stats returns the hub's counts so far. A payload that the framing of some receivers can't carry counts once for each of these
// receivers, and not for its sender. So the frames that were written, dropped or unrepresentable add up to the frames that were to
// be sent.
func (h *Hub) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HubStats{Age: time.Since(h.origin), MemberCounts: h.gone, Members: len(h.members)}
	for m := range h.members {
		s.add(m.counts.all())
	}
	for o := range h.outboxes {
		s.add(o.counts.all())
	}
	return s
}

// Stats returns the counts of the member. If the member has an outbox, they include the counts of the outbox since its creation.
func (m *Member) Stats() MemberStats {
	s := MemberStats{Age: time.Since(m.clock.origin), MemberCounts: m.counts.all()}
	if m.ofOutbox {
		s.add(m.tally.all())
	}
	s.Unrepresentable += m.counts.uncarried.Load()
	s.QueuedFrames, s.QueuedBytes = m.queue.held()
	s.HalfClosed = m.inputEnded.Load() != 0
	return s
}

// hubCounters are the live counters of MemberCounts.
type hubCounters struct {
	counters
	datagramsIn, datagramsOut, droppedFrames, droppedBytes atomic.Int64
	own, suppressed, notSent, starved                      atomic.Int64
	// uncarried counts the member's own payloads that the framing of some receivers could not carry. Hub.Stats does not include
	// it: the hub counts such payloads at their receivers.
	uncarried atomic.Int64
}

func (c *hubCounters) all() MemberCounts {
	return MemberCounts{
		FlowStats:   c.snapshot(),
		DatagramsIn: c.datagramsIn.Load(), DatagramsOut: c.datagramsOut.Load(),
		DroppedFrames: c.droppedFrames.Load(), DroppedBytes: c.droppedBytes.Load(),
		Own: c.own.Load(), Suppressed: c.suppressed.Load(), NotSent: c.notSent.Load(), Starved: c.starved.Load(),
	}
}

func (c *MemberCounts) add(o MemberCounts) {
	c.Add(&o.FlowStats)
	c.DatagramsIn += o.DatagramsIn
	c.DatagramsOut += o.DatagramsOut
	c.DroppedFrames += o.DroppedFrames
	c.DroppedBytes += o.DroppedBytes
	c.Own += o.Own
	c.Suppressed += o.Suppressed
	c.NotSent += o.NotSent
	c.Starved += o.Starved
}

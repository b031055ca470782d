package relay

import (
	"sync/atomic"
	"time"
)

// MemberCounts counts what a member has done. Of its FlowStats, what is read and in is from the member to the hub, and
// what is written and out is from the hub to the member.
type MemberCounts struct {
	FlowStats
	DatagramsIn   int64 `json:"datagrams_in"`   // received, without our own
	DatagramsOut  int64 `json:"datagrams_out"`  // sent
	DroppedFrames int64 `json:"dropped_frames"` // dropped by the member's queue, or left in it when the member was over
	DroppedBytes  int64 `json:"dropped_bytes"`  // of wire, likewise
	Own           int64 `json:"own"`            // datagrams of our own that came back
	Suppressed    int64 `json:"suppressed"`     // frames that came back by way of another host
	NotSent       int64 `json:"not_sent"`       // datagrams that could not be sent
	Starved       int64 `json:"starved"`        // datagrams, or frames of them, dropped because there was no memory or the codec failed
}

// MemberStats counts what a member has done, and what waits for it.
type MemberStats struct {
	Age time.Duration // since the member was made
	MemberCounts
	HalfClosed   bool `json:"half_closed"` // the peer has ended its own direction
	QueuedFrames int  `json:"queued_frames"`
	QueuedBytes  int  `json:"queued_bytes"` // of wire
}

// HubStats counts what the members of a hub have done, also those that left.
type HubStats struct {
	Age time.Duration // since NewHub
	MemberCounts
	Members int `json:"members"`
}

// Stats returns what the hub has done so far. A payload that the framing of receivers can't carry counts once for each of
// them, and not at its sender, so that frames that left, and those that were dropped, are what was to leave.
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

// Stats returns the counters of the member, with those of its outbox since the outbox was made.
func (m *Member) Stats() MemberStats {
	s := MemberStats{Age: time.Since(m.clock.origin), MemberCounts: m.counts.all()}
	if m.lasts {
		s.add(m.tally.all())
	}
	s.Unrepresentable += m.counts.uncarried.Load()
	s.QueuedFrames, s.QueuedBytes = m.queue.held()
	s.HalfClosed = m.inputEnded.Load() != 0
	return s
}

// hubCounters are MemberCounts under way.
type hubCounters struct {
	counters
	datagramsIn, datagramsOut, droppedFrames, droppedBytes atomic.Int64
	own, suppressed, notSent, starved                      atomic.Int64
	// uncarried counts the member's own payloads that a framing of receivers could not carry. The hub counts those where
	// they were to go, as it counts frames that leave.
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

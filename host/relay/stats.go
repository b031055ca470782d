package relay

import (
	"sync/atomic"
	"time"
)

// Stats counts the traffic of a session.
type Stats struct {
	Age                      time.Duration // since New
	ToUpstream, ToDownstream FlowStats
}

// FlowStats counts the traffic of one direction.
type FlowStats struct {
	BytesRead       int64 `json:"bytes_read"`      // from the sender
	BytesWritten    int64 `json:"bytes_written"`   // to the receiver
	FramesIn        int64 `json:"frames_in"`       // payloads decoded
	PayloadBytes    int64 `json:"payload_bytes"`   // the bytes of these payloads
	FramesOut       int64 `json:"frames_out"`      // frames encoded and written
	Empties         int64 `json:"empties"`         // empty frames and payloads that the codecs dropped, as their options ask
	Violations      int64 `json:"violations"`      // faults in the received wire
	Unrepresentable int64 `json:"unrepresentable"` // payloads that the receiver's framing can't carry
	DroppedTails    int64 `json:"dropped_tails"`   // unfinished frames at the end of a stream that were dropped
	BytesSkipped    int64 `json:"bytes_skipped"`   // bytes dropped after violations
	BytesDiscarded  int64 `json:"bytes_discarded"` // bytes discarded because the direction is not used, or because they arrived too late

	// Bytes that wait now.
	BytesWaiting   int64 `json:"bytes_waiting"`   // bytes of an unfinished frame
	BytesUnwritten int64 `json:"bytes_unwritten"` // bytes of the write under way that the receiver has not accepted yet

	// The frames and bytes that were not delivered when the session ended: frames that were decoded and not written; and the bytes
	// of their payloads, with all bytes that had arrived and were not decoded.
	FramesNotDelivered int64 `json:"frames_not_delivered"`
	BytesNotDelivered  int64 `json:"bytes_not_delivered"`
}

// Add adds the counts of o to those of s.
func (s *FlowStats) Add(o *FlowStats) {
	s.BytesRead += o.BytesRead
	s.BytesWritten += o.BytesWritten
	s.FramesIn += o.FramesIn
	s.PayloadBytes += o.PayloadBytes
	s.FramesOut += o.FramesOut
	s.Empties += o.Empties
	s.Violations += o.Violations
	s.Unrepresentable += o.Unrepresentable
	s.DroppedTails += o.DroppedTails
	s.BytesSkipped += o.BytesSkipped
	s.BytesDiscarded += o.BytesDiscarded
	s.BytesWaiting += o.BytesWaiting
	s.BytesUnwritten += o.BytesUnwritten
	s.FramesNotDelivered += o.FramesNotDelivered
	s.BytesNotDelivered += o.BytesNotDelivered
}

// counters are the live counters of FlowStats.
type counters struct {
	bytesRead, bytesWritten, framesIn, payloadBytes, framesOut, empties atomic.Int64
	violations, unrepresentable, droppedTails, bytesSkipped             atomic.Int64
	bytesDiscarded, bytesWaiting, bytesUnwritten                        atomic.Int64
	framesNotDelivered, bytesNotDelivered                               atomic.Int64
}

func (c *counters) snapshot() FlowStats {
	return FlowStats{
		BytesRead: c.bytesRead.Load(), BytesWritten: c.bytesWritten.Load(),
		FramesIn: c.framesIn.Load(), PayloadBytes: c.payloadBytes.Load(), FramesOut: c.framesOut.Load(),
		Empties: c.empties.Load(), Violations: c.violations.Load(), Unrepresentable: c.unrepresentable.Load(),
		DroppedTails: c.droppedTails.Load(), BytesSkipped: c.bytesSkipped.Load(),
		BytesDiscarded: c.bytesDiscarded.Load(),
		BytesWaiting:   c.bytesWaiting.Load(), BytesUnwritten: c.bytesUnwritten.Load(),
		FramesNotDelivered: c.framesNotDelivered.Load(), BytesNotDelivered: c.bytesNotDelivered.Load(),
	}
}

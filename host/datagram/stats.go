package datagram

import "sync/atomic"

// counts are the counters for Stats.
type counts struct {
	received, own, truncated, elsewhere, strangers, sent, unsent atomic.Uint64

	dropped atomic.Uint64 // the lower 32 bits are the system's count
}

// Stats returns the current counts. After Close, Dropped stays at the value of the last call before Close.
func (c *Conn) Stats() Stats {
	return Stats{
		Received:  c.stats.received.Load(),
		Own:       c.stats.own.Load(),
		Truncated: c.stats.truncated.Load(),
		Elsewhere: c.stats.elsewhere.Load(),
		Strangers: c.stats.strangers.Load(),
		Dropped:   c.dropped(),
		Sent:      c.stats.sent.Load(),
		Unsent:    c.stats.unsent.Load(),
	}
}

// dropped asks the system for its count, which has 32 bits, and extends it to 64 bits with the help of the last answer.
func (c *Conn) dropped() uint64 {
	var now uint32
	err := withDescriptor(c.socket.raw, func(fd uintptr) error {
		now = droppedDatagrams(fd)
		return nil
	})
	for {
		last := c.stats.dropped.Load()
		if err != nil || int32(now-uint32(last)) <= 0 { // closed, or another call has stored a later count
			return last
		}
		if c.stats.dropped.CompareAndSwap(last, last+uint64(now-uint32(last))) {
			return last + uint64(now-uint32(last))
		}
	}
}

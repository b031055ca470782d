package relay

import (
	"sync"
	"sync/atomic"
	"time"
)

// A clock watches a session's timeouts with one timer. Flows only note when something began; the timer looks at these
// notes when the earliest of them could be due. One that is not set can't be due before its whole time has passed, so
// the timer is late for none and is never touched while bytes flow.
type clock struct {
	session *Session
	origin  time.Time
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// A mark is a time as now tells it; 0: not set.
type mark struct{ atomic.Int64 }

func (m *mark) clear() { m.Store(0) }

func (c *clock) begin(s *Session) { c.session, c.origin = s, time.Now() }

// now returns the nanoseconds since the session was made, and one more, so that no time is 0.
func (c *clock) now() int64 { return 1 + int64(time.Since(c.origin)) }

// start sets the timer off and returns what stops it.
func (c *clock) start() (stop func()) {
	wait, ok := c.look()
	if !ok {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(wait, c.tick)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = true
		c.timer.Stop()
	}
}

func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if wait, ok := c.look(); ok {
		c.timer.Reset(wait)
	}
}

// look ends the session if a timeout is due. Otherwise it returns how long none can be; it is not ok if none ever will.
func (c *clock) look() (wait time.Duration, ok bool) {
	now := c.now()
	limits := &c.session.config.Timeouts
	wait = -1
	due := func(limit time.Duration, since int64) bool {
		if limit == 0 {
			return false
		}
		left := limit
		if since != 0 {
			left = limit - time.Duration(now-since)
		}
		if wait < 0 || left < wait {
			wait = max(left, 0)
		}
		return left <= 0
	}
	quietSince := int64(1)
	for i, f := range c.session.flows {
		opposite := c.session.flows[1-i]
		halfClosed := opposite.ended.Load()
		if f.ended.Load() != 0 {
			halfClosed = 0
		}
		if halfClosed != 0 {
			halfClosed = max(halfClosed, f.active.Load())
		}
		reason := Reason("")
		switch {
		case due(limits.Frame, f.frameSince.Load()):
			reason = FrameTimeout
		case due(limits.Write, f.writeSince.Load()):
			reason = WriteTimeout
		case due(limits.HalfClose, halfClosed):
			reason = HalfCloseTimeout
		}
		if reason != "" {
			c.session.end(reason, nil, f.direction)
			return 0, false
		}
		quietSince = max(quietSince, f.active.Load())
	}
	if due(limits.Idle, quietSince) {
		c.session.end(IdleTimeout, nil, Neither)
		return 0, false
	}
	return wait, wait >= 0
}

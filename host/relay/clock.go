package relay

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A clock watches all timeouts of a session, or of a member of a hub, with one timer. The goroutines that move bytes only store
// marks: times at which something began. The timer checks the marks when the earliest timeout could be due. A timeout whose mark is
// not set can't be due before its whole time has passed. So the timer is late for no timeout, although nothing resets it while
// bytes flow.
type clock struct {
	// check ends the owner if a timeout is due. Otherwise it returns how long no timeout can be due; ok is false if none ever can.
	check   func() (wait time.Duration, ok bool)
	origin  time.Time
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// A mark is a time returned by clock.now; 0: not set.
type mark struct{ atomic.Int64 }

func (m *mark) clear() { m.Store(0) }

func (c *clock) begin(check func() (time.Duration, bool)) { c.check, c.origin = check, time.Now() }

// now returns the nanoseconds since the clock began plus one, so that no time is 0.
func (c *clock) now() int64 { return 1 + int64(time.Since(c.origin)) }

// start starts the timer, and returns a function that stops it.
func (c *clock) start() (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait, ok := c.check()
	if !ok {
		wait = math.MaxInt64
	}
	c.timer = time.AfterFunc(wait, c.tick)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = true
		c.timer.Stop()
	}
}

// wake makes the timer call check soon, since a new timeout may be due before all others. wake does not wait.
func (c *clock) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && !c.stopped {
		c.timer.Reset(0)
	}
}

func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if wait, ok := c.check(); ok {
		c.timer.Reset(wait)
	}
}

// A deadline is the earliest of several timeouts.
type deadline struct {
	now  int64
	wait time.Duration // how long no timeout is due
	set  bool
}

// due reports whether limit has passed since the time since. It returns false if limit or since is 0. The deadline includes the
// timeout; for a since of 0, it assumes that the timeout begins now.
func (d *deadline) due(limit time.Duration, since int64) bool {
	if limit == 0 {
		return false
	}
	left := limit
	if since != 0 {
		left = limit - time.Duration(d.now-since)
	}
	d.again(max(left, 0))
	return left <= 0
}

// again makes the timer call check after wait at the latest.
func (d *deadline) again(wait time.Duration) {
	if !d.set || wait < d.wait {
		d.wait, d.set = wait, true
	}
}

// checkTimeouts ends the session if a timeout is due. The clock calls it.
func (s *Session) checkTimeouts() (wait time.Duration, ok bool) {
	d := deadline{now: s.clock.now()}
	limits := &s.config.Timeouts
	quietSince := int64(1)
	for _, f := range s.flows {
		sends, active := f.from.inputEnded.Load() == 0, f.active()
		if reason, direction := f.to.timedOut(limits, &d, sends, active); reason != "" {
			s.end(reason, nil, direction)
			return 0, false
		}
		quietSince = max(quietSince, active)
	}
	if d.due(limits.Idle, quietSince) {
		s.end(IdleTimeout, nil, Neither)
		return 0, false
	}
	s.checkDrain(&d)
	return d.wait, d.set
}

package relay

import (
	"sync"
	"sync/atomic"
)

// An outcome is how a session, or a member of a hub, ended. It is decided once.
type outcome struct {
	announced atomic.Bool

	mu        sync.Mutex
	reason    Reason // "": it is not decided
	err       error
	direction Direction
}

// decide sets the outcome, unless it is set, and reports whether it did. The caller announces it.
func (o *outcome) decide(reason Reason, err error, direction Direction) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != "" {
		return false
	}
	o.reason, o.err, o.direction = reason, err, direction
	return true
}

// announce lets over report true from now on.
func (o *outcome) announce() { o.announced.Store(true) }

// over reports whether the outcome was announced.
func (o *outcome) over() bool { return o.announced.Load() }

// decided returns the outcome; "" if it is open.
func (o *outcome) decided() (Reason, Direction, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason, o.direction, o.err
}

// explain sets the error of an outcome that was decided without one.
func (o *outcome) explain(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

package relay

import (
	"context"
	"sync"
	"sync/atomic"
)

// An outcome says how a session, or a member of a hub, ended. It is decided once.
type outcome struct {
	ctx       context.Context // ends when the outcome is announced; its cause is the reason
	cancel    context.CancelCauseFunc
	announced atomic.Bool
	settled   chan struct{} // closed when the links are shut

	mu        sync.Mutex
	reason    Reason // "": not decided yet
	err       error
	direction Direction
}

// prepareOutcome makes the context and the channel.
func (o *outcome) prepareOutcome() {
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	o.settled = make(chan struct{})
}

// decide sets the outcome if it is not set, and reports whether it did so. The caller then calls announce,
// shuts the links, and closes settled.
func (o *outcome) decide(reason Reason, err error, direction Direction) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != "" {
		return false
	}
	o.reason, o.err, o.direction = reason, err, direction
	return true
}

// announce makes over return true, and ends the context.
func (o *outcome) announce() {
	o.announced.Store(true)
	reason, _, _ := o.decided()
	o.cancel(reason)
}

// over reports whether the outcome was announced.
func (o *outcome) over() bool { return o.announced.Load() }

// decided returns the outcome. The Reason is "" if the outcome is not decided yet.
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

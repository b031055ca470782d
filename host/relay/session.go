package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A Session relays between two links until both peers have ended, or something ends it. Its methods are safe for
// concurrent use.
type Session struct {
	config Config
	keeper keeper
	clock  clock
	flows  [2]*flow // to upstream, to downstream
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   atomic.Bool  // result is set
	undone atomic.Int32 // flows that have not finished

	draining    atomic.Bool
	rests       atomic.Bool // the drain found the session at rest, and ends it well
	restedSince mark        // both peers have seen a clean end
	cutSince    mark        // Cut was called

	mu     sync.Mutex
	result Result
}

// A Result says how a session ended.
type Result struct {
	Reason    Reason
	Err       error     // what happened; nil for Fin, Drained, DrainTimeout and timeouts
	Direction Direction // in which it happened; Neither: in none in particular
	Stats     Stats
}

// New prepares a session. It fails when only one side has a codec.
func New(config Config) (*Session, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if config.Classify == nil {
		config.Classify = func(error) Reason { return IOError }
	}
	s := &Session{config: config, keeper: newKeeper(config.OnViolation, config.Violation, config.Quarantine, config.WireBytes)}
	s.clock.begin(s.look)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.flows[0] = newFlow(s, ToUpstream, &s.config.Downstream, &s.config.Upstream)
	s.flows[1] = newFlow(s, ToDownstream, &s.config.Upstream, &s.config.Downstream)
	s.undone.Store(int32(len(s.flows)))
	return s, nil
}

// Run relays until the session is over, closes both links and says why. It is called once. When ctx ends, both peers are
// reset at once, with the reason [DrainTimeout], or a [Reason] that is ctx's cause. A drain that has ended the session well
// keeps that end, and one that is about to has a second for it.
func (s *Session) Run(ctx context.Context) Result {
	stop := context.AfterFunc(ctx, func() {
		reason := Reason("")
		switch {
		case s.restedSince.Load() != 0:
			s.endDrain()
		case s.rests.Load():
			s.Cut() // the peers are about to see a clean end
		case errors.As(context.Cause(ctx), &reason):
			s.end(reason, nil, Neither)
		default:
			s.endDrain()
		}
	})
	defer stop()
	for _, f := range s.flows {
		f.openAccount()
		defer f.account.close()
	}
	s.relay()
	reason := Fin
	if s.rests.Load() {
		reason = Drained
	}
	s.end(reason, nil, Neither)
	_ = s.config.Downstream.Link.Close()
	_ = s.config.Upstream.Link.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Stats = s.Stats()
	return s.result
}

func (s *Session) relay() {
	defer s.clock.start()()
	s.shutUnused(&s.config.Downstream)
	s.shutUnused(&s.config.Upstream)
	var other sync.WaitGroup
	other.Go(s.flows[1].run)
	s.flows[0].run()
	other.Wait()
}

// shutUnused ends the direction that a side leaves unused, where that is wanted. An error will come again.
func (s *Session) shutUnused(side *Side) {
	switch {
	case !side.Shutdown:
	case side.Use == ReceiveOnly:
		_ = side.Link.CloseWrite()
	case side.Use == SendOnly:
		_ = side.Link.CloseRead()
	}
}

// end sets the session's result, unless it is set, and closes both links. A link is closed if its peer has seen a clean end; it is
// reset if the peer has not, if bytes that the peer sent after the session's end were lost, or if the session is cut. end
// wakes blocked calls, and does not wait itself.
func (s *Session) end(reason Reason, err error, direction Direction) {
	s.mu.Lock()
	if s.result.Reason != "" {
		s.mu.Unlock()
		return
	}
	s.result = Result{Reason: reason, Err: err, Direction: direction}
	s.mu.Unlock()
	if reason != Fin {
		for _, f := range s.flows {
			f.noteArrived()
		}
	}
	s.over.Store(true)
	s.cancel(reason)
	for i, f := range s.flows {
		if f.complete() && s.flows[1-i].late.Load() == 0 && reason != DrainTimeout {
			_ = f.to.Link.Close()
		} else {
			_ = f.to.Link.Reset()
		}
	}
}

// Stats returns what the session has done so far.
func (s *Session) Stats() Stats {
	return Stats{
		Age:          time.Since(s.clock.origin),
		ToUpstream:   s.flows[0].counts.snapshot(),
		ToDownstream: s.flows[1].counts.snapshot(),
	}
}

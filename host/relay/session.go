package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A Session relays between two links until both peers have ended their directions, or until a violation, an error, a timeout, a
// drain or the context of Run ends it. Run may be called once. The methods are safe for concurrent use.
type Session struct {
	config Config
	keeper keeper
	clock  clock
	lives  [2]life      // of the downstream link, and of the upstream one
	flows  [2]*flow     // to upstream, to downstream
	undone atomic.Int32 // flows that have not finished

	draining    atomic.Bool
	rests       atomic.Bool // the drain found the session at rest, and ends it cleanly
	restedSince mark        // when both peers had seen a clean end
	cutSince    mark        // when Cut was called

	outcome
}

// A Result says how a session ended.
type Result struct {
	Reason    Reason
	Err       error     // the cause; nil for Fin, Drained, DrainTimeout and timeouts; a FrameTimeout may have a *Violation
	Direction Direction // where the cause lies; Neither: in no particular direction
	Stats     Stats
}

// New prepares a session. It returns an error if only one side has a codec.
func New(config Config) (*Session, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	s := &Session{config: config, keeper: newKeeper(config.OnViolation, config.Violation, config.Quarantine, config.WireBytes)}
	s.clock.begin(s.checkTimeouts)
	s.prepareOutcome()
	down, up := &s.lives[0], &s.lives[1]
	s.flows[0] = newFlow(s, ToUpstream, &s.config.Downstream, &s.config.Upstream, down, up)
	s.flows[1] = newFlow(s, ToDownstream, &s.config.Upstream, &s.config.Downstream, up, down)
	toUpstream, toDownstream := traffic{ToUpstream, &s.flows[0].counts}, traffic{ToDownstream, &s.flows[1].counts}
	down.begin(config.Downstream.Link, s, &s.clock, config.Classify, toUpstream, toDownstream)
	up.begin(config.Upstream.Link, s, &s.clock, config.Classify, toDownstream, toUpstream)
	s.undone.Store(int32(len(s.flows)))
	return s, nil
}

// Run relays until the session is over, closes both links, and returns how the session ended. It may be called once. When ctx
// ends, the session resets both peers at once. The reason is then the cause of ctx if that is a [Reason], and otherwise
// [DrainTimeout]. There are two exceptions: if a drain has shown both peers a clean end, the session ends as [Drained]; if a
// drain is about to do so, it has one second for it.
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
	<-s.settled // the goroutine that ended the session decides which links are reset
	_ = s.config.Downstream.Link.Close()
	_ = s.config.Upstream.Link.Close()
	r := Result{Stats: s.Stats()}
	r.Reason, r.Direction, r.Err = s.decided()
	return r
}

func (s *Session) relay() {
	defer s.clock.start()()
	for i, side := range []*Side{&s.config.Downstream, &s.config.Upstream} {
		if side.Shutdown {
			s.lives[i].shutUnused(side.Use)
		}
	}
	var other sync.WaitGroup
	other.Go(s.flows[1].run)
	s.flows[0].run()
	other.Wait()
}

// end sets the session's result and shuts both links. It does nothing if the result is already set. A link is closed if its peer
// has seen a clean end. It is reset if the peer has not seen one, if bytes that the peer sent after the session's end were lost, or
// if the session is cut. end wakes blocked calls, and does not wait.
func (s *Session) end(reason Reason, err error, direction Direction) {
	if !s.decide(reason, err, direction) {
		return
	}
	defer close(s.settled)
	if reason != Fin {
		for _, f := range s.flows {
			f.noteArrived()
		}
	}
	s.announce()
	for _, f := range s.flows {
		f.to.shut(f.complete() && reason != DrainTimeout)
	}
}

// Stats returns the session's counts so far.
func (s *Session) Stats() Stats {
	return Stats{
		Age:          time.Since(s.clock.origin),
		ToUpstream:   s.flows[0].counts.snapshot(),
		ToDownstream: s.flows[1].counts.snapshot(),
	}
}

package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lingerTime is how long a drained session waits for the peers to end, so that what was written last arrives: closing a
// connection that has unread bytes can destroy what is still on its way to the peer.
const lingerTime = 2 * time.Second

// A Session relays between two links until both peers have ended, or something ends it. Its methods are safe for
// concurrent use.
type Session struct {
	config Config
	keeper keeper
	clock  clock
	flows  [2]*flow // to upstream, to downstream
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   atomic.Bool // result is there
	drain  atomic.Pointer[Reason]
	undone atomic.Int32 // flows that have not finished

	mu     sync.Mutex
	result Result
	linger *time.Timer
}

// A Result says how a session ended.
type Result struct {
	Reason    Reason
	Err       error     // what happened; nil for Fin, Drained and timeouts
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

// Run relays until the session is over, closes both links and says why. It is called once. A ctx that ends ends the
// session at once, resetting streams that are not complete; a [Reason] that is its cause becomes the session's reason,
// otherwise that is Drained.
func (s *Session) Run(ctx context.Context) Result {
	stop := context.AfterFunc(ctx, func() {
		reason := Drained
		errors.As(context.Cause(ctx), &reason)
		s.end(reason, nil, Neither)
	})
	defer stop()
	if err := s.config.Memory.take(s.ctx, sessionMemory); err != nil {
		s.end(MemoryShort, err, Neither)
	} else {
		defer s.config.Memory.give(sessionMemory)
		s.relay()
	}
	s.end(s.finalReason(), nil, Neither)
	_ = s.config.Downstream.Link.Close()
	_ = s.config.Upstream.Link.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.linger != nil {
		s.linger.Stop()
	}
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

// finalReason is the reason of a session that came to its own end.
func (s *Session) finalReason() Reason {
	if reason := s.drain.Load(); reason != nil {
		return *reason
	}
	return Fin
}

// Drain asks the session to end in good order, with reason: what was received up to now is delivered as far as its
// frames are complete, then both peers see an end; one that was to get more of an unfinished frame sees a reset. Drain
// does not wait. Run returns when the peers have ended as well, or did not within two seconds; until its context ends
// it goes on writing to a slow receiver.
func (s *Session) Drain(reason Reason) {
	if !s.drain.CompareAndSwap(nil, &reason) {
		return
	}
	for _, f := range s.flows {
		f.drain()
	}
}

// finished is called by each flow once it wrote its last.
func (s *Session) finished() {
	if s.undone.Add(-1) > 0 || s.drain.Load() == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linger = time.AfterFunc(lingerTime, func() { s.end(s.finalReason(), nil, Neither) })
}

// end decides how the session ended, if that is open yet, and closes both links. A stream that has not come to its end
// is cut with a reset. It wakes everybody and waits for nobody.
func (s *Session) end(reason Reason, err error, direction Direction) {
	s.mu.Lock()
	if s.result.Reason != "" {
		s.mu.Unlock()
		return
	}
	s.result = Result{Reason: reason, Err: err, Direction: direction}
	s.mu.Unlock()
	s.over.Store(true)
	s.cancel(reason)
	for _, f := range s.flows {
		if f.complete() {
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

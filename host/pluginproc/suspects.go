package pluginproc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// gather is how long suspects are waited for that come of the same death, so that the least suspicious is first.
const gather = time.Millisecond

// suspects are calls that may have taken their process down. They are made one by one in a process of their own, while all other
// calls go on in the plugin's current one. Those of directions that have been answered most often are made first: the peer
// that has just connected is the likely one.
//
// A suspect that is likely to take down the next process too gets one only while the reserve of spares stays whole. So a peer that
// reconnects as fast as it can, however many of them there are, waits for its own launches; others find a spare.
type suspects struct {
	plugin *Plugin

	// Guarded by the plugin's mu.
	waiting []*suspect
	judging bool // judge runs
	wanted  int  // how many spares there should be, of which it takes one
}

// A suspect is a call that is to be made alone.
type suspect struct {
	history uint64 // calls of its direction that were answered
	number  uint64 // of the attempt that made it one
	deadly  bool   // processes ended by themselves, or answered against the contract, while they made it
	proven  bool   // one did so while it made this call alone

	process chan *instance // receives its process when it is its turn; closed if there will be none
	left    chan struct{}  // closed by the call when it is through
}

// compare orders suspects: those that are least likely to take a process down come first.
func (a *suspect) compare(b *suspect) int {
	switch {
	case a.proven && !b.proven:
		return 1
	case b.proven && !a.proven:
		return -1
	}
	return cmp.Or(cmp.Compare(b.history, a.history), cmp.Compare(b.number, a.number))
}

// alone returns a process in which nothing else is done until leave is called, which must be done if there is no error.
func (s *suspects) alone(ctx context.Context, history, number uint64, r *record) (in *instance, leave func(), err error) {
	p := s.plugin
	one := &suspect{
		history: history, number: number, deadly: r.gone+r.goneAlone+r.misbehaved > 0, proven: r.goneAlone > 0 || r.misbehaved > 1,
		process: make(chan *instance, 1), left: make(chan struct{}),
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, nil, p.closedError()
	}
	s.waiting = append(s.waiting, one)
	p.announce() // one that others wait for may be the first now
	if !s.judging {
		s.judging = true
		p.work.Go(s.judge)
	}
	p.mu.Unlock()
	leave = func() { close(one.left) }
	select {
	case in, ok := <-one.process:
		if !ok {
			return nil, nil, p.closedError()
		}
		return in, leave, nil
	case <-ctx.Done():
		p.mu.Lock()
		s.waiting = slices.DeleteFunc(s.waiting, func(other *suspect) bool { return other == one })
		p.mu.Unlock()
		leave() // in case its turn has come meanwhile
		return nil, nil, ctx.Err()
	}
}

func (p *Plugin) closedError() error {
	return fmt.Errorf("plugin %s: %w: %w", p.spec.Name, codeccall.ErrCodecFailed, ErrClosed)
}

// judge has the suspects make their calls, as long as there are any.
func (s *suspects) judge() {
	p := s.plugin
	var in *instance // made the last call, and lives
	for {
		moment := time.NewTimer(gather)
		select {
		case <-moment.C:
		case <-p.ctx.Done():
			moment.Stop()
		}
		one, process := s.next(in)
		if one == nil {
			return
		}
		in = process
		one.process <- in
		<-one.left
		if in.condemned() {
			in = nil
		}
	}
}

// next waits until a suspect can make its call, and returns it with the process, which is in if that is not nil and may be used for it.
// If there are no suspects any more, or the plugin is closed, next ends judge and returns nil.
func (s *suspects) next(in *instance) (*suspect, *instance) {
	p := s.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(s.waiting) > 0 && !p.closed {
		slices.SortFunc(s.waiting, (*suspect).compare)
		one, reserve := s.waiting[0], 0
		if s.isLikely(one) {
			reserve = p.reserve()
		}
		switch {
		case in != nil && in.condemned():
			in = nil
			continue
		case in != nil && len(p.spares) < reserve:
			p.spares = append(p.spares, in)
			in = nil
			p.announce()
			continue
		case in != nil:
			s.waiting = s.waiting[1:]
			return one, in
		case p.current != nil && !p.current.condemned() && len(p.spares) > reserve: // calls in general go first
			in = p.takeSpare()
			continue // since takeSpare may have passed over some
		}
		s.wanted = reserve + 1
		changed := p.changed
		p.mu.Unlock()
		p.kick()
		select {
		case <-changed:
		case <-p.ctx.Done():
		}
		p.mu.Lock()
		s.wanted = 0
	}
	for _, one := range s.waiting {
		close(one.process)
	}
	s.waiting, s.judging = nil, false
	p.giveBack(in)
	p.kick()
	return nil, nil
}

// isLikely reports whether one, the first of those that wait, is likely to take down the process that it is made in: it has done so,
// or nothing speaks for it, or no other is left that may have taken down the last one. The plugin's mu is held.
func (s *suspects) isLikely(one *suspect) bool {
	return one.proven || one.deadly && (one.history == 0 || len(s.waiting) == 1)
}

// giveBack makes in, which made calls apart, a spare, if one is needed and it is well, and otherwise ends it. p.mu is held.
func (p *Plugin) giveBack(in *instance) {
	switch {
	case in == nil || in.condemned():
	case len(p.spares) < p.wantedSpares() && !p.closed:
		p.spares = append(p.spares, in)
		p.announce()
	default:
		in.markFailed(errNotNeeded)
	}
}

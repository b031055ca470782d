package pluginproc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// gather is how long judge waits before each turn for more suspects of the same death, so that it can start with the least suspicious.
const gather = time.Millisecond

// suspects are calls that may have taken their process down. They are made one at a time in a process of their own, while all other
// calls go on in the plugin's current process. Calls of the directions with the most answered calls are made first: the cause is
// most likely a peer that has just connected.
//
// A suspect that is likely to take down the next process too gets a process only while the reserve of spares stays full. So peers that
// reconnect as fast as they can, however many they are, wait for launches of their own; other sessions find a spare.
type suspects struct {
	plugin *Plugin

	// The plugin's mu guards the fields below.
	waiting []*suspect
	judging bool // judge runs
	wanted  int  // how many spares judge waits for, including the one that it will take
}

// A suspect is a call that is to be made alone.
type suspect struct {
	history uint64 // answered calls of its direction
	number  uint64 // number of the attempt that made the call a suspect
	deadly  bool   // a process ended by itself, or answered against the contract, while it made this call
	proven  bool   // a process ended by itself while it made only this call, or this call was answered against the contract twice

	process chan *instance // receives the process when it is this call's turn; closed if there will be none
	left    chan struct{}  // closed by the call when it is done with the process
}

// compare orders suspects: the one that is least likely to take a process down comes first.
func (a *suspect) compare(b *suspect) int {
	switch {
	case a.proven && !b.proven:
		return 1
	case b.proven && !a.proven:
		return -1
	}
	return cmp.Or(cmp.Compare(b.history, a.history), cmp.Compare(b.number, a.number))
}

// alone waits for the call's turn and returns a process that makes no other call until leave is called. If err is nil, the caller must
// call leave. ctx or Close ends the wait.
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
	p.announce() // next sorts again: this suspect may come before the one that next has chosen
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
		leave() // judge may have given this call its turn in the meantime
		return nil, nil, ctx.Err()
	}
}

func (p *Plugin) closedError() error {
	return fmt.Errorf("plugin %s: %w: %w", p.spec.Name, codeccall.ErrCodecFailed, ErrClosed)
}

// judge gives each suspect its turn, and returns when there are none left.
func (s *suspects) judge() {
	p := s.plugin
	var in *instance // the process that made the last call, if it survived
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

// next waits until a suspect can make its call, and returns the suspect and a process for it. The process is in, the one used last, if
// in is not nil and need not be kept as a spare. If there are no suspects left, or the plugin is closed, next marks judge as ended
// and returns nil.
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
		case p.current != nil && !p.current.condemned() && len(p.spares) > reserve: // ordinary calls get a process first
			in = p.takeSpare()
			continue // takeSpare may have ended some spares, so check the reserve again
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

// isLikely reports whether one, the first suspect in line, is likely to take down its next process: it is proven; or it is deadly, and
// either no call of its direction was ever answered or no other suspect is left. The plugin's mu is held.
func (s *suspects) isLikely(one *suspect) bool {
	return one.proven || one.deadly && (one.history == 0 || len(s.waiting) == 1)
}

// giveBack makes in, which made calls apart, a spare if one is needed, and otherwise ends it. in may be nil. p.mu is held.
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

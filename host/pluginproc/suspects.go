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
type suspects struct {
	plugin *Plugin

	// Guarded by the plugin's mu.
	waiting     []*suspect
	judging     bool // judge runs
	wantProcess bool // it waits for one
}

// A suspect is a call that is to be made alone.
type suspect struct {
	history uint64 // calls of its direction that were answered
	number  uint64 // of the attempt that made it one

	process chan *instance // receives its process when it is its turn; closed if there will be none
	left    chan struct{}  // closed by the call when it is through
}

// alone returns a process in which nothing else is done until leave is called, which must be done if there is no error.
func (s *suspects) alone(ctx context.Context, history, number uint64) (in *instance, leave func(), err error) {
	p := s.plugin
	one := &suspect{history: history, number: number, process: make(chan *instance, 1), left: make(chan struct{})}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, nil, p.closedError()
	}
	s.waiting = append(s.waiting, one)
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
	var in *instance
	for {
		if in == nil || in.condemned() {
			in = s.await()
		}
		moment := time.NewTimer(gather)
		select {
		case <-moment.C:
		case <-p.ctx.Done():
			moment.Stop()
		}
		p.mu.Lock()
		if in == nil && len(s.waiting) > 0 && !p.closed {
			p.mu.Unlock() // some have come since
			continue
		}
		if len(s.waiting) == 0 || in == nil {
			for _, one := range s.waiting {
				close(one.process)
			}
			s.waiting, s.judging = nil, false
			p.giveBack(in)
			p.mu.Unlock()
			p.kick()
			return
		}
		slices.SortFunc(s.waiting, func(a, b *suspect) int {
			return cmp.Or(cmp.Compare(b.history, a.history), cmp.Compare(b.number, a.number))
		})
		one := s.waiting[0]
		s.waiting = s.waiting[1:]
		p.mu.Unlock()
		one.process <- in
		<-one.left
	}
}

// await returns a process for suspects, or nil if the plugin is closed or there are no suspects any more.
func (s *suspects) await() *instance {
	p := s.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { s.wantProcess = false }()
	for len(s.waiting) > 0 && !p.closed {
		if p.current != nil && !p.current.condemned() { // which goes before
			if in := p.takeSpare(); in != nil {
				return in
			}
		}
		s.wantProcess = true
		changed := p.changed
		p.mu.Unlock()
		p.kick()
		select {
		case <-changed:
		case <-p.ctx.Done():
		}
		p.mu.Lock()
	}
	return nil
}

// giveBack makes in, which made calls apart, a spare, if one is needed and it is well, and otherwise ends it. p.mu is held.
func (p *Plugin) giveBack(in *instance) {
	switch {
	case in == nil || in.condemned():
	case len(p.spares) < p.options.Spares && !p.closed:
		p.spares = append(p.spares, in)
		p.announce()
	default:
		in.condemn(errNotNeeded)
	}
}

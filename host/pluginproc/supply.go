package pluginproc

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Why the host ends processes that have done nothing.
var (
	errReplaced  = errors.New("its program was replaced")
	errNotNeeded = errors.New("not needed any more")
)

// guard stays with a process until its end, whatever it is used for, and then sees to what follows from that.
func (p *Plugin) guard(in *instance) {
	select {
	case <-in.done():
	case <-in.doomed:
	case <-in.Failed():
	case <-p.ctx.Done():
	}
	in.condemn(in.Err())
	in.mayDieByItself(p.ctx)
	in.kill()
	<-in.done()
	p.work.Go(in.cleanup)
	p.retire(in)
	p.kick()
}

// retire takes in, which has ended, out of service. If it was the current one, a spare takes over.
func (p *Plugin) retire(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.instances, in)
	wasCurrent := p.current == in
	if wasCurrent {
		p.current, p.downSince = nil, time.Now()
	}
	p.spares = slices.DeleteFunc(p.spares, func(spare *instance) bool { return spare == in })
	defer p.announce()
	if p.ctx.Err() != nil || errors.Is(in.cause, errReplaced) || errors.Is(in.cause, errNotNeeded) {
		return
	}
	how := in.obituary()
	if in.hangsOrMisbehaves() {
		how = fmt.Sprintf("%v; it %s", in.cause, how)
	}
	if ended := in.ofItsStreams(); ended != "" {
		how = fmt.Sprintf("%s; it %s", ended, how)
	}
	p.restarts++
	p.fail(fmt.Errorf("%s: process %d %s", p.spec.what(), in.pid(), how))
	p.pausing = !in.wasUseful() && time.Since(in.since) < settled
	if wasCurrent {
		p.promote()
	}
	p.log.Error("plugin process has ended; its calls are made again on another",
		"pid", in.pid(), "up", time.Since(in.since).Round(time.Millisecond), "calls", in.sent.Load(),
		"spare", p.current != nil, "error", how)
}

// promote has the first spare that is of use take over. p.mu is held.
func (p *Plugin) promote() {
	if in := p.takeSpare(); in != nil {
		p.publish(in)
	}
}

// takeSpare returns the first spare that is of use, nil if there is none. p.mu is held.
//
// The program of a spare may have been replaced since it was started. To end a process is how a plugin is upgraded, so such a
// spare is ended too.
func (p *Plugin) takeSpare() *instance {
	for len(p.spares) > 0 {
		in := p.spares[0]
		p.spares = p.spares[1:]
		if in.condemned() {
			continue
		}
		if p.image == nil || !in.program.replacedBy(p.image.stamp()) {
			return in
		}
		in.condemn(errReplaced)
	}
	return nil
}

// publish makes in the current process. p.mu is held.
func (p *Plugin) publish(in *instance) {
	p.current, p.description = in, *in.description
	p.dataPlane, p.planeReason = in.dataPlane, in.planeReason
	p.log.Info("plugin is up", "pid", in.pid(), "codec", in.description.Info.Name, "version", in.description.Info.Version,
		"data_plane", in.dataPlane)
	p.announce()
}

// kick has supply look whether processes are needed.
func (p *Plugin) kick() {
	select {
	case p.kicked <- struct{}{}:
	default:
	}
}

// supply launches processes, one after the other, as they are needed: first for calls in general, then for those that are made
// apart, then as spares. It pauses before that, longer each time, while launching fails or processes end before they are of
// any use; a process that has answered calls, or that died of one, is replaced at once.
func (p *Plugin) supply() {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: p.options.MinRestartDelay, MaxInterval: p.options.MaxRestartDelay,
		RandomizationFactor: 0.5, Multiplier: 2,
	}
	for {
		switch needed, pausing := p.needed(); {
		case !needed:
			select {
			case <-p.kicked:
			case <-p.ctx.Done():
				return
			}
			continue
		case pausing:
			wait := time.NewTimer(pause.NextBackOff())
			select {
			case <-wait.C:
			case <-p.ctx.Done():
				wait.Stop()
				return
			}
		default:
			pause.Reset()
		}
		in, err := p.bringUp(p.ctx)
		if p.ctx.Err() != nil {
			if err == nil {
				p.guard(in)
			}
			return
		}
		p.mu.Lock()
		if err != nil {
			p.pausing = true
			p.fail(err)
			p.mu.Unlock()
			p.log.Error("plugin process could not be started", "error", err)
			continue
		}
		p.pausing = false
		if p.current == nil {
			p.publish(in)
		} else {
			p.log.Debug("spare plugin process is up", "pid", in.pid())
			p.spares = append(p.spares, in)
			p.announce()
		}
		p.mu.Unlock()
		p.work.Go(func() { p.guard(in) })
	}
}

// needed reports whether another process is, and whether that has to wait.
func (p *Plugin) needed() (needed, pausing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		p.promote()
	}
	spares := 0
	if p.options.Spares > 0 && p.used.Load() {
		spares = p.options.Spares
		if time.Since(p.warned) < wary && !p.warned.IsZero() {
			spares++
		}
	}
	if p.suspects.wantProcess {
		spares = max(spares, 1)
	}
	return p.current == nil || len(p.spares) < spares, p.pausing
}

// first notes that the plugin is used: from then on it has spares.
func (p *Plugin) first() {
	if !p.used.Swap(true) {
		p.kick()
	}
}

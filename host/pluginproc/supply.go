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
	in.markFailed(in.Err())
	in.mayDieByItself(p.ctx)
	in.kill()
	<-in.done()
	p.retire(in) // before the cleanup, which takes time that calls wait for
	p.work.Go(in.cleanup)
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
	how := in.exitSummary()
	if in.hangsOrMisbehaves() {
		how = fmt.Sprintf("%v; it %s", in.cause, how)
	}
	if ended := in.ofItsStreams(); ended != "" {
		how = fmt.Sprintf("%s; it %s", ended, how)
	}
	p.restarts++
	p.noteError(fmt.Errorf("%s: process %d %s", p.spec.what(), in.pid(), how))
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
		p.tookOver = time.Now()
		time.AfterFunc(takeover, p.kick)
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
		in.markFailed(errReplaced)
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

// launchesAtOnce is how many processes of a plugin are launched at a time: when one dies with no spare ready, calls in general and
// those that are made apart would otherwise wait for one launch after the other. More would share the processors with the
// first, which most calls wait for.
const launchesAtOnce = 2

// supply launches processes as they are needed: first for calls in general, then for those that are made apart, then as spares.
// It pauses before that, longer each time, while launching fails or processes end before they are of any use; a process that
// has answered calls, or that died of one, is replaced at once.
func (p *Plugin) supply() {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: p.options.MinRestartDelay, MaxInterval: p.options.MaxRestartDelay,
		RandomizationFactor: 0.5, Multiplier: 2,
	}
	for p.ctx.Err() == nil {
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
		p.mu.Lock()
		p.launching++
		p.mu.Unlock()
		p.work.Go(p.addProcess)
	}
}

// addProcess launches a process, puts it into service, and stays with it until its end.
func (p *Plugin) addProcess() {
	in, err := p.bringUp(p.ctx)
	failed := err != nil && p.ctx.Err() == nil
	p.mu.Lock()
	p.launching--
	switch {
	case failed:
		p.pausing = true
		p.noteError(err)
	case err == nil && p.ctx.Err() == nil:
		p.pausing = false
		if p.current == nil {
			p.publish(in)
		} else {
			p.log.Debug("spare plugin process is up", "pid", in.pid())
			p.spares = append(p.spares, in)
			p.announce()
		}
	}
	p.mu.Unlock()
	p.kick()
	if failed {
		p.log.Error("plugin process could not be started", "error", err)
	}
	if err == nil {
		p.guard(in)
	}
}

// needed reports whether another process is to be launched, beside those that are being launched, and whether that has to wait. While
// launches pause, there is one at a time.
func (p *Plugin) needed() (needed, pausing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		p.promote()
	}
	wanted := p.wantedSpares()
	if !p.isWary() && !p.suspects.judging {
		for len(p.spares) > wanted {
			p.spares[wanted].markFailed(errNotNeeded)
			p.spares = slices.Delete(p.spares, wanted, wanted+1)
		}
	}
	if p.current != nil && p.suspects.wanted == 0 && !p.isWary() && time.Since(p.tookOver) < takeover {
		return false, false
	}
	missing := max(wanted-len(p.spares), 0)
	if p.current == nil {
		missing++
	}
	atOnce := launchesAtOnce
	if p.pausing {
		atOnce = 1
	}
	return p.launching < min(missing, atOnce), p.pausing
}

// wantedSpares returns how many spares there should be. p.mu is held.
func (p *Plugin) wantedSpares() int {
	spares := 0
	if p.options.Spares > 0 && p.used.Load() {
		spares = p.options.Spares
		if p.isWary() {
			spares = p.reserve() + 1
		}
	}
	return max(spares, p.suspects.wanted)
}

// isWary reports whether a call has taken a process down not long ago. p.mu is held.
func (p *Plugin) isWary() bool { return !p.warned.IsZero() && time.Since(p.warned) < wary }

// reserve returns how many spares stay for others when a call gets a process of its own that it is likely to take down: those that
// take over from the current process, and one for suspects that are likely to be innocent. p.mu is held.
func (p *Plugin) reserve() int {
	if p.options.Spares == 0 {
		return 0
	}
	return p.options.Spares + 1
}

// first notes that the plugin is used: from then on it has spares.
func (p *Plugin) first() {
	if !p.used.Swap(true) {
		p.kick()
	}
}

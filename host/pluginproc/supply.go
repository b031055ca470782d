package pluginproc

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Reasons why the host ends a process that has done nothing wrong.
var (
	errReplaced  = errors.New("its program was replaced")
	errNotNeeded = errors.New("not needed any more")
)

// guard waits until the process has ended or must be ended, ends it, and takes it out of service.
func (p *Plugin) guard(in *instance) {
	select {
	case <-in.done():
	case <-in.doomed:
	case <-in.Failed():
	case <-p.ctx.Done():
	}
	in.markFailed(in.Err())
	in.awaitExit(p.ctx)
	in.kill()
	<-in.done()
	p.retire(in) // before the cleanup, so that calls need not wait for the cleanup
	p.work.Go(in.cleanup)
	p.kick()
}

// retire takes the ended process in out of service. If it was the current process, a spare takes over.
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
	if ended := in.streamError(); ended != "" {
		how = fmt.Sprintf("%s; it %s", ended, how)
	}
	p.restarts++
	p.noteError(fmt.Errorf("%s: process %d %s", p.spec.label(), in.pid(), how))
	if p.pausing = !in.wasUseful() && time.Since(in.since) < minUptime; !p.pausing {
		p.proved = true
	}
	if wasCurrent {
		p.promote()
	}
	p.log.Error("plugin process has ended; its calls are made again on another",
		"pid", in.pid(), "up", time.Since(in.since).Round(time.Millisecond), "calls", in.sent.Load(),
		"spare", p.current != nil, "error", how)
}

// promote makes the first usable spare the current process, if there is one. p.mu is held.
func (p *Plugin) promote() {
	if in := p.takeSpare(); in != nil {
		p.publish(in)
		p.tookOver = time.Now()
		time.AfterFunc(takeover, p.kick)
	}
}

// takeSpare removes the first usable spare and returns it, or nil if there is none. p.mu is held.
//
// takeSpare ends spares whose program file was replaced after they were started: an operator upgrades a plugin by replacing the file
// and ending the process, so the process that follows must run the new program.
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

// kick makes supply check whether processes are needed.
func (p *Plugin) kick() {
	select {
	case p.kicked <- struct{}{}:
	default:
	}
}

// launchesAtOnce is how many processes of a plugin are launched at a time. With one, when a process dies and no spare is ready, ordinary
// calls and calls made apart would wait for one launch after the other. With more than two, the launches would take processor time
// from the first, which most calls wait for.
const launchesAtOnce = 2

// supply launches processes as they are needed: first for ordinary calls, then for calls made apart, then as spares. It pauses before
// each launch, longer each time, while launches fail or processes end before they are of any use. It replaces at once a process that
// has answered a call or may have died of one.
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
		case p.takeProved():
			pause.Reset()
		}
		p.mu.Lock()
		p.launching++
		p.mu.Unlock()
		p.work.Go(p.addProcess)
	}
}

// takeProved reports whether a process has proved useful since the last call.
func (p *Plugin) takeProved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	proved := p.proved
	p.proved = false
	return proved
}

// addProcess launches a process, puts it into service, and guards it until it has ended.
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

// needed reports whether to launch another process, besides those being launched now, and whether to pause first. While launches
// pause, there is one launch at a time. needed also ends spares that are not needed any more.
func (p *Plugin) needed() (needed, pausing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		p.promote()
	}
	wanted := p.wantedSpares()
	if !p.onAlert() && !p.suspects.judging {
		for len(p.spares) > wanted {
			p.spares[wanted].markFailed(errNotNeeded)
			p.spares = slices.Delete(p.spares, wanted, wanted+1)
		}
	}
	if p.current != nil && p.suspects.wanted == 0 && !p.onAlert() && time.Since(p.tookOver) < takeover {
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
		if p.onAlert() {
			spares = p.reserve() + 1
		}
	}
	return max(spares, p.suspects.wanted)
}

// onAlert reports whether a call has taken a process down within the last alertPeriod. p.mu is held.
func (p *Plugin) onAlert() bool {
	return !p.alertedAt.IsZero() && time.Since(p.alertedAt) < alertPeriod
}

// reserve returns how many spares must remain when a suspect that is likely to take down its process gets one: Options.Spares, to take
// over from the current process, and one more for suspects that are likely to be innocent. p.mu is held.
func (p *Plugin) reserve() int {
	if p.options.Spares == 0 {
		return 0
	}
	return p.options.Spares + 1
}

// markUsed records that the plugin has been called. From the first call on supply keeps spares.
func (p *Plugin) markUsed() {
	if !p.used.Swap(true) {
		p.kick()
	}
}

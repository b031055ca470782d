// Package plugins has the plugins and the codecs that configurations use. Plugins are shared and counted: one that no configuration
// uses any more ends, and a codec that none uses is released in its plugin.
package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/pluginproc"
)

// A Pool runs plugins, each once, for all the configurations that name it. It is safe for concurrent use.
type Pool struct {
	options pluginproc.Options
	// Patient has a plugin that did not come up in time started again, for as long as it has users.
	Patient bool
	start   func(context.Context, pluginproc.Spec, pluginproc.Options) (*pluginproc.Plugin, error)

	mu      sync.Mutex
	plugins map[string]*pooled // by what is executed
}

// pooled is a plugin that was started, once.
type pooled struct {
	key     string
	name    string
	cancel  context.CancelFunc // ends the start
	started chan struct{}      // closed when plugin and err are set
	plugin  *pluginproc.Plugin
	err     error

	// What follows is guarded by the pool.
	users   int
	late    chan struct{} // closed when an attempt has ended without a plugin and another follows, and replaced
	lateErr error         // of that attempt
}

// Waits between two attempts to start a plugin that did not come up in time.
const (
	minStartAgain = 100 * time.Millisecond
	maxStartAgain = 5 * time.Second
)

// NewPool returns a Pool that starts plugins with options; of these it sets the timeouts itself.
func NewPool(options pluginproc.Options) *Pool {
	return &Pool{options: options, start: pluginproc.Start, plugins: map[string]*pooled{}}
}

// use returns the plugin of spec and starts it if it has no user yet. The caller leaves it once, also if it does not start.
func (p *Pool) use(spec pluginproc.Spec, timeouts *config.Timeouts) *pooled {
	key := specKey(spec, timeouts.Codec)
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.plugins[key]
	if !ok {
		ctx, cancel := context.WithCancel(context.Background())
		one = &pooled{key: key, name: spec.Name, cancel: cancel, started: make(chan struct{}), late: make(chan struct{})}
		p.plugins[key] = one
		options := p.options
		options.CallTimeout, options.StartTimeout = timeouts.Codec, timeouts.Start
		if timeouts.Start == 0 {
			options.StartTimeout = -1
		}
		go p.bring(ctx, one, spec, options) // leave waits for it
	}
	one.users++
	return one
}

// bring starts a plugin. A patient Pool goes on until it is up, once an attempt has ended late.
func (p *Pool) bring(ctx context.Context, one *pooled, spec pluginproc.Spec, options pluginproc.Options) {
	defer close(one.started)
	pause := &backoff.ExponentialBackOff{
		InitialInterval: minStartAgain, MaxInterval: maxStartAgain, RandomizationFactor: 0.5, Multiplier: 2,
	}
	for late := false; ; {
		one.plugin, one.err = p.start(ctx, spec, options)
		late = late || errors.Is(one.err, pluginproc.ErrStartTimeout)
		if one.err == nil || !late || !p.Patient || ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		one.lateErr = one.err
		close(one.late)
		one.late = make(chan struct{})
		p.mu.Unlock()
		wait := pause.NextBackOff()
		p.options.Logger.Warn("plugin has not come up; it is started again, and its routes wait", "plugin", spec.Name,
			"error", one.err, "again_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// await returns the plugin when it is up. It fails if that can't be any more, and when an attempt ends late although another
// follows: the error wraps pluginproc.ErrStartTimeout then, and to call it again waits for the next attempt.
func (p *Pool) await(ctx context.Context, one *pooled) (*pluginproc.Plugin, error) {
	p.mu.Lock()
	late := one.late
	p.mu.Unlock()
	select {
	case <-one.started:
		return one.plugin, one.err
	case <-late:
		p.mu.Lock()
		defer p.mu.Unlock()
		if errors.Is(one.lateErr, pluginproc.ErrStartTimeout) {
			return nil, one.lateErr
		}
		return nil, fmt.Errorf("%w: %w", pluginproc.ErrStartTimeout, one.lateErr)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// leave ends the plugin when nobody uses it any more.
func (p *Pool) leave(one *pooled) error {
	p.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(p.plugins, one.key)
		one.cancel()
	}
	p.mu.Unlock()
	<-one.started
	if !last || one.plugin == nil {
		return nil
	}
	return one.plugin.Close()
}

// Kill ends at once all plugins that run; their calls fail. They are to be left all the same, which says what went
// wrong.
func (p *Pool) Kill() {
	p.mu.Lock()
	for _, one := range p.plugins {
		one.cancel()
	}
	p.mu.Unlock()
	var all sync.WaitGroup
	for _, plugin := range p.Running() {
		all.Go(func() { _ = plugin.Close() })
	}
	all.Wait()
}

// specKey tells specs apart.
func specKey(spec pluginproc.Spec, callTimeout time.Duration) string {
	key, err := json.Marshal([]any{spec, callTimeout})
	if err != nil {
		panic(fmt.Sprintf("plugins: key of plugin %s: %v", spec.Name, err)) // strings and maps of strings are always JSON
	}
	return string(key)
}

// Running returns the plugins that have been started, by name.
func (p *Pool) Running() []*pluginproc.Plugin {
	p.mu.Lock()
	defer p.mu.Unlock()
	var running []*pluginproc.Plugin
	for _, one := range p.plugins {
		select {
		case <-one.started:
			if one.plugin != nil {
				running = append(running, one.plugin)
			}
		default: // it may take seconds, and what it starts for waits for it
		}
	}
	slices.SortFunc(running, func(a, b *pluginproc.Plugin) int { return strings.Compare(a.Spec().Name, b.Spec().Name) })
	return running
}

// Late returns the plugins that have not come up in time so far, by name, with what went wrong last.
func (p *Pool) Late() map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := map[string]error{}
	for _, one := range p.plugins {
		select {
		case <-one.started:
		default:
			if one.lateErr != nil {
				late[one.name] = one.lateErr
			}
		}
	}
	return late
}

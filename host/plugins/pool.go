// Package plugins starts the plugins that configurations use and configures their codecs. A [Pool] shares each plugin between
// configurations and counts its users: a plugin ends when no configuration uses it any more. A [Set] has the codecs of one
// configuration, and releases them in their plugins when it is closed.
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

// A Pool runs each plugin once for all configurations that use it. It is safe for concurrent use.
type Pool struct {
	options pluginproc.Options
	// Patient makes the Pool start a plugin again that was not up in time, for as long as the plugin has users. It must not
	// change after the first use of the Pool.
	Patient bool
	start   func(context.Context, pluginproc.Spec, pluginproc.Options) (*pluginproc.Plugin, error)

	mu      sync.Mutex
	plugins map[string]*pooled // by specKey
}

// pooled is a plugin in a Pool.
type pooled struct {
	key     string
	name    string
	cancel  context.CancelFunc // stops starting the plugin
	started chan struct{}      // closed when plugin and err are set
	plugin  *pluginproc.Plugin
	err     error

	// The mu of the Pool guards the fields that follow.
	users   int
	late    chan struct{} // closed, and replaced by a new one, when an attempt has failed and another follows
	lateErr error         // of the last such attempt
}

// Limits for the pause between two attempts to start a plugin that was not up in time. It grows from the first to the second.
const (
	minStartAgain = 100 * time.Millisecond
	maxStartAgain = 5 * time.Second
)

// NewPool returns a Pool that starts plugins with options. It replaces the timeouts in options by those of the configuration.
func NewPool(options pluginproc.Options) *Pool {
	return &Pool{options: options, start: pluginproc.Start, plugins: map[string]*pooled{}}
}

// use adds a user to the plugin of spec and returns it. It begins to start the plugin if there is no other user. The caller
// must call leave once, even if the plugin does not start.
func (p *Pool) use(spec pluginproc.Spec, timeouts *config.Timeouts) *pooled {
	key := specKey(spec, timeouts)
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
		go p.startPlugin(ctx, one, spec, options) // leave waits for its end
	}
	one.users++
	return one
}

// startPlugin starts a plugin. If the Pool is Patient and an attempt has exceeded the start timeout, startPlugin tries again,
// after that and every further failure, until the plugin is up or ctx ends.
func (p *Pool) startPlugin(ctx context.Context, one *pooled, spec pluginproc.Spec, options pluginproc.Options) {
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

// await waits until the plugin is up and returns it. It returns an error when starting the plugin has failed for good or ctx
// ends. It also returns an error when an attempt has failed and another follows: that error wraps pluginproc.ErrStartTimeout,
// and another call of await waits for the next attempt.
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

// leave removes a user of the plugin, and ends the plugin if that was the last user.
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

// Kill ends all running plugins at once, and stops starting others. Calls of the plugins fail. Every Set must still be closed;
// Close returns the errors of the plugins.
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

// specKey returns a key that is the same for equal specs with the same timeouts of plugins, and different for others.
func specKey(spec pluginproc.Spec, timeouts *config.Timeouts) string {
	key, err := json.Marshal([]any{spec, timeouts.Codec, timeouts.Start})
	if err != nil {
		panic(fmt.Sprintf("plugins: key of plugin %s: %v", spec.Name, err)) // strings and maps of strings are always JSON
	}
	return string(key)
}

// Running returns the plugins that have started, sorted by name.
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
		default: // still starting; Running does not wait, because that may take seconds
		}
	}
	slices.SortFunc(running, func(a, b *pluginproc.Plugin) int { return strings.Compare(a.Spec().Name, b.Spec().Name) })
	return running
}

// Late returns, by plugin name, the last error of each plugin that was not up in time and is being started again.
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

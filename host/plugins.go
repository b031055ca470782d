package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/pluginproc"
)

// A pool runs plugins, each once, for all the configurations that name it. It is safe for concurrent use.
type pool struct {
	options pluginproc.Options
	// patient has a plugin that did not come up in time started again, for as long as it has users.
	patient bool
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

func newPool(options pluginproc.Options) *pool {
	return &pool{options: options, start: pluginproc.Start, plugins: map[string]*pooled{}}
}

// use returns the plugin of spec and starts it if it has no user yet. The caller leaves it once, also if it does not start.
func (p *pool) use(spec pluginproc.Spec, timeouts *config.Timeouts) *pooled {
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

// bring starts a plugin. A patient pool goes on until it is up, once an attempt has ended late.
func (p *pool) bring(ctx context.Context, one *pooled, spec pluginproc.Spec, options pluginproc.Options) {
	defer close(one.started)
	pause := &backoff.ExponentialBackOff{
		InitialInterval: minStartAgain, MaxInterval: maxStartAgain, RandomizationFactor: 0.5, Multiplier: 2,
	}
	for late := false; ; {
		one.plugin, one.err = p.start(ctx, spec, options)
		late = late || errors.Is(one.err, pluginproc.ErrStartTimeout)
		if one.err == nil || !late || !p.patient || ctx.Err() != nil {
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
func (p *pool) await(ctx context.Context, one *pooled) (*pluginproc.Plugin, error) {
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
func (p *pool) leave(one *pooled) error {
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

// kill ends at once all plugins that run; their calls fail. They are to be left all the same, which says what went
// wrong.
func (p *pool) kill() {
	p.mu.Lock()
	for _, one := range p.plugins {
		one.cancel()
	}
	p.mu.Unlock()
	var all sync.WaitGroup
	for _, plugin := range p.running() {
		all.Go(func() { _ = plugin.Close() })
	}
	all.Wait()
}

// specKey tells specs apart.
func specKey(spec pluginproc.Spec, callTimeout time.Duration) string {
	key, err := json.Marshal([]any{spec, callTimeout})
	if err != nil {
		panic(fmt.Sprintf("host: key of plugin %s: %v", spec.Name, err)) // strings and maps of strings are always JSON
	}
	return string(key)
}

// running returns the plugins that have been started, by name.
func (p *pool) running() []*pluginproc.Plugin {
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

// late returns the plugins that have not come up in time so far, by name, with what went wrong last.
func (p *pool) late() map[string]error {
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

// Codecs are the codecs of one configuration, with the plugins they need. It is safe for concurrent use.
type Codecs struct {
	config *config.Config
	pool   *pool
	users  atomic.Int32 // routes

	mu         sync.Mutex
	plugins    map[string]*pooled // by name
	configured map[codecKey]configured
	warnings   map[string][]config.Warning // of the options, by the codec's name
}

// configured is a codec with the plugin that releases it.
type configured struct {
	codeccall.Codec
	plugin *pluginproc.Plugin
}

// codecKey is a codec of the configuration with the limit that a route sets it.
type codecKey struct {
	name     string
	maxFrame int
}

// OpenCodecs returns the codecs of c, none of them configured and no plugin started: that is done when they are first
// asked for. The caller closes them.
func OpenCodecs(c *config.Config, log hclog.Logger) *Codecs {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return newCodecs(c, newPool(pluginproc.Options{Logger: log}))
}

func newCodecs(c *config.Config, p *pool) *Codecs {
	return &Codecs{config: c, pool: p, plugins: map[string]*pooled{}, configured: map[codecKey]configured{}}
}

// Close releases the codecs and ends the plugins that no other configuration uses. No call may be made afterwards.
func (s *Codecs) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.configured {
		c.plugin.Release(c.Codec)
	}
	clear(s.configured)
	var errs []error
	for _, one := range s.plugins {
		errs = append(errs, s.pool.leave(one))
	}
	clear(s.plugins)
	return errors.Join(errs...)
}

// Plugin returns the plugin of that name, which it starts if that was not done yet. It must be built in or be one of the
// configuration's.
func (s *Codecs) Plugin(ctx context.Context, name string) (*pluginproc.Plugin, error) {
	s.mu.Lock()
	one, ok := s.plugins[name]
	if !ok {
		one = s.pool.use(s.spec(name), &s.config.Timeouts)
		s.plugins[name] = one
	}
	s.mu.Unlock()
	return s.pool.await(ctx, one)
}

func (s *Codecs) spec(name string) pluginproc.Spec {
	spec := pluginproc.Spec{Name: name, DataPlane: pluginproc.DataPlane(s.config.DataPlane)}
	for _, p := range s.config.Plugins {
		if p.Name == name {
			spec.Path, spec.SHA256, spec.Args, spec.Env = p.Path, p.SHA256, p.Args, p.Env
			spec.DataPlane = pluginproc.DataPlane(cmp.Or(p.DataPlane, s.config.DataPlane))
		}
	}
	return spec
}

// Codec returns the codec of that name, configured for payloads of at most maxFrame bytes. Its plugin is started if it
// was not. What is wrong with the options comes as config.Errors, with their places; so does a plugin that does not
// start.
func (s *Codecs) Codec(ctx context.Context, name string, maxFrame int) (codeccall.Codec, error) {
	key := codecKey{name, maxFrame}
	s.mu.Lock()
	known, ok := s.configured[key]
	s.mu.Unlock()
	if ok {
		return known.Codec, nil
	}
	c := s.find(name)
	if c == nil {
		return nil, fmt.Errorf("codec %q is not one of the configuration's", name)
	}
	p, err := s.Plugin(ctx, c.Plugin)
	if err != nil {
		return nil, s.notUp(c.Plugin, err)
	}
	codec, err := s.configure(ctx, p, c, maxFrame)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.configured[key]; ok { // another call was faster
		p.Release(codec)
		return known.Codec, nil
	}
	s.configured[key] = configured{codec, p}
	return codec, nil
}

// configure has p configure c. The codec that it returns is to be released.
func (s *Codecs) configure(ctx context.Context, p *pluginproc.Plugin, c *config.Codec, maxFrame int) (codeccall.Codec, error) {
	options, err := c.OptionsJSON(p.Description().Schema)
	if err != nil {
		if errors.As(err, new(config.Errors)) {
			return nil, err
		}
		return nil, config.Errors{c.At.Error(fmt.Sprintf("codec %s: %v", c.Name, err), "")}
	}
	s.warn(c, p.Description().Schema)
	codec, err := p.Configure(ctx, options, maxFrame)
	var option *codecs.OptionError
	switch {
	case errors.As(err, &option):
		return nil, c.PlaceOptionError(err)
	case err != nil:
		return nil, config.Errors{c.At.Error(fmt.Sprintf("codec %s: %v", c.Name, err), "")}
	}
	return codec, nil
}

// warn notes what is allowed in a codec's options but probably not meant, and logs it the first time.
func (s *Codecs) warn(c *config.Codec, schema json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, done := s.warnings[c.Name]; done {
		return
	}
	if s.warnings == nil {
		s.warnings = map[string][]config.Warning{}
	}
	s.warnings[c.Name] = c.OptionWarnings(schema)
	for _, warning := range s.warnings[c.Name] {
		if s.pool.options.Logger != nil {
			s.pool.options.Logger.Warn(warning.String())
		}
	}
}

// Warnings returns what is allowed in the options of the codecs that were configured but probably not meant, in the
// order of the configuration.
func (s *Codecs) Warnings() (all []config.Warning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.config.Codecs {
		all = append(all, s.warnings[s.config.Codecs[i].Name]...)
	}
	return all
}

// notUp returns err, of a plugin that did not start, with the place of the first codec that needs it: one error, however
// many codecs do.
func (s *Codecs) notUp(plugin string, err error) config.Errors {
	var at config.Position
	for i := range s.config.Codecs {
		if c := &s.config.Codecs[i]; c.Plugin == plugin {
			at = c.At
			break
		}
	}
	return config.Errors{at.Error(err.Error(), "")}
}

// startPlugins returns when the plugins that keys need are up or have failed to start. late is of those for which it was
// only too early: await says what that is.
func (s *Codecs) startPlugins(ctx context.Context, keys []codecKey) (late, failed error) {
	var names []string
	for _, key := range keys {
		if c := s.find(key.name); c != nil && !slices.Contains(names, c.Plugin) {
			names = append(names, c.Plugin)
		}
	}
	errs, lates := make([]error, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			_, err := s.Plugin(ctx, name)
			switch {
			case err == nil:
			case s.pool.patient && errors.Is(err, pluginproc.ErrStartTimeout):
				lates[i] = err
			default:
				errs[i] = s.notUp(name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(lates...), config.Join(errs...)
}

func (s *Codecs) find(name string) *config.Codec {
	for i := range s.config.Codecs {
		if s.config.Codecs[i].Name == name {
			return &s.config.Codecs[i]
		}
	}
	return nil
}

// uses returns the codecs that connections of an endpoint of r can have.
func uses(c *config.Config, r *config.Route, e *config.Endpoint) []codecKey {
	names := []string{e.Codec}
	for _, rule := range e.Select {
		names = append(names, rule.Codec)
	}
	var keys []codecKey
	for i := range c.Codecs {
		if slices.Contains(names, c.Codecs[i].Name) {
			keys = append(keys, codecKey{c.Codecs[i].Name, r.MaxFrame(&c.Codecs[i])})
		}
	}
	return keys
}

// usesOf returns the codecs that connections of any endpoint of r can have.
func usesOf(c *config.Config, r *config.Route) (keys []codecKey) {
	for _, e := range r.Sides() {
		keys = append(keys, uses(c, r, e)...)
	}
	return keys
}

// configureAll configures the codecs that keys name, which may recur, side by side, and reports everything that is wrong at once.
func (s *Codecs) configureAll(ctx context.Context, keys []codecKey) error {
	slices.SortFunc(keys, func(a, b codecKey) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.maxFrame, b.maxFrame))
	})
	keys = slices.Compact(keys)
	results := make([]error, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() { _, results[i] = s.Codec(ctx, key.name, key.maxFrame) })
	}
	all.Wait()
	return config.Join(results...)
}

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

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/pluginproc"
)

// A pool runs plugins, each once, for all the configurations that name it. It is safe for concurrent use.
type pool struct {
	options pluginproc.Options

	mu      sync.Mutex
	plugins map[string]*pooled // by what is executed
}

// pooled is a plugin that was started, once.
type pooled struct {
	key     string
	users   int           // guarded by the pool
	started chan struct{} // closed when the rest is set
	plugin  *pluginproc.Plugin
	err     error
}

func newPool(options pluginproc.Options) *pool {
	return &pool{options: options, plugins: map[string]*pooled{}}
}

// use returns the plugin of spec, which it starts if nobody did. Whoever uses it leaves it once, also if it did not
// start.
func (p *pool) use(ctx context.Context, spec pluginproc.Spec, callTimeout time.Duration) *pooled {
	key := specKey(spec, callTimeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.plugins[key]
	if !ok {
		one = &pooled{key: key, started: make(chan struct{})}
		p.plugins[key] = one
		options := p.options
		options.CallTimeout = callTimeout
		go func() { // leave waits for it
			defer close(one.started)
			one.plugin, one.err = pluginproc.Start(ctx, spec, options)
		}()
	}
	one.users++
	return one
}

// leave ends the plugin when nobody uses it any more.
func (p *pool) leave(one *pooled) error {
	p.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(p.plugins, one.key)
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

// Codecs are the codecs of one configuration, with the plugins they need. It is safe for concurrent use.
type Codecs struct {
	config *config.Config
	pool   *pool
	users  atomic.Int32 // routes

	mu         sync.Mutex
	plugins    map[string]*pooled // by name
	configured map[codecKey]codeccall.Codec
}

// codecKey is a codec of the configuration with the limit that a route sets it.
type codecKey struct {
	name     string
	maxFrame int
}

// OpenCodecs returns the codecs of c, none of them configured and no plugin started: that is done when they are first
// asked for. The caller closes them.
func OpenCodecs(c *config.Config, log hclog.Logger) *Codecs {
	return newCodecs(c, newPool(pluginproc.Options{Logger: log}))
}

func newCodecs(c *config.Config, p *pool) *Codecs {
	return &Codecs{config: c, pool: p, plugins: map[string]*pooled{}, configured: map[codecKey]codeccall.Codec{}}
}

// Close ends the plugins that nobody else uses. No call may be made afterwards.
func (s *Codecs) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
		one = s.pool.use(ctx, s.spec(name), s.config.Timeouts.Codec)
		s.plugins[name] = one
	}
	s.mu.Unlock()
	<-one.started
	return one.plugin, one.err
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
	codec, ok := s.configured[key]
	s.mu.Unlock()
	if ok {
		return codec, nil
	}
	c := s.find(name)
	if c == nil {
		return nil, fmt.Errorf("codec %q is not one of the configuration's", name)
	}
	codec, err := s.configure(ctx, c, maxFrame)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configured[key] = codec
	return codec, nil
}

func (s *Codecs) configure(ctx context.Context, c *config.Codec, maxFrame int) (codeccall.Codec, error) {
	p, err := s.Plugin(ctx, c.Plugin)
	if err != nil {
		return nil, config.Errors{c.At.Error(fmt.Sprintf("codec %s: %v", c.Name, err), "")}
	}
	var options json.RawMessage
	if options, err = c.OptionsJSON(p.Description().Schema); err != nil {
		return nil, err
	}
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

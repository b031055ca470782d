package plugins

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

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/pluginproc"
)

// A Set has the codecs of one configuration and the plugins that they need. It is safe for concurrent use.
type Set struct {
	config *config.Config
	pool   *Pool
	users  atomic.Int32

	mu         sync.Mutex
	plugins    map[string]*pooled // by name
	configured map[Key]configured
	warnings   map[string][]config.Warning // about codec options, by the name of the codec
	closed     bool
}

// configured is a codec with the plugin that releases it.
type configured struct {
	codeccall.Codec
	plugin *pluginproc.Plugin
}

// A Key names a codec of the configuration with a payload limit that a route sets for it.
type Key struct {
	Name     string
	MaxFrame int // bytes
}

// Open returns a Set for c with a Pool of its own. The Set starts plugins and configures codecs when they are first requested.
// The caller must close the Set. log may be nil.
func Open(c *config.Config, log hclog.Logger) *Set {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return NewPool(pluginproc.Options{Logger: log}).Open(c)
}

// Open returns a Set for c with the plugins of p. The Set starts plugins and configures codecs when they are first requested.
// The caller must close the Set.
func (p *Pool) Open(c *config.Config) *Set {
	return &Set{config: c, pool: p, plugins: map[string]*pooled{}, configured: map[Key]configured{}}
}

// Config returns the configuration of the Set.
func (s *Set) Config() *config.Config { return s.config }

// Use adds a user of the Set. Users are only counted, for Used.
func (s *Set) Use() { s.users.Add(1) }

// Leave removes a user of the Set.
func (s *Set) Leave() { s.users.Add(-1) }

// Used reports whether the Set has users.
func (s *Set) Used() bool { return s.users.Load() > 0 }

var errClosed = errors.New("the codecs of this configuration were closed")

// Close releases the codecs and ends the plugins that no other Set uses. It returns the errors of ending them. The codecs must not
// be used afterwards; Plugin and Codec fail.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.configured {
		c.plugin.Release(c.Codec)
	}
	clear(s.configured)
	s.closed = true
	var errs []error
	for _, one := range s.plugins {
		errs = append(errs, s.pool.leave(one))
	}
	clear(s.plugins)
	return errors.Join(errs...)
}

// Plugin returns the plugin of that name when it is up. The first call starts it. The plugin must be built in or defined in
// the configuration.
func (s *Set) Plugin(ctx context.Context, name string) (*pluginproc.Plugin, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	one, ok := s.plugins[name]
	if !ok {
		one = s.pool.use(s.spec(name), &s.config.Timeouts)
		s.plugins[name] = one
	}
	s.mu.Unlock()
	return s.pool.await(ctx, one)
}

func (s *Set) spec(name string) pluginproc.Spec {
	spec := pluginproc.Spec{Name: name, DataPlane: pluginproc.DataPlane(s.config.DataPlane)}
	for _, p := range s.config.Plugins {
		if p.Name == name {
			spec.Path, spec.SHA256, spec.Args, spec.Env = p.Path, p.SHA256, p.Args, p.Env
			spec.DataPlane = pluginproc.DataPlane(cmp.Or(p.DataPlane, s.config.DataPlane))
		}
	}
	return spec
}

// Codec returns the codec of that name, configured for payloads of at most maxFrame bytes. The first call starts the plugin
// and configures the codec. Wrong options, and a plugin that does not start, are reported as config.Errors, which have the
// place in the configuration.
func (s *Set) Codec(ctx context.Context, name string, maxFrame int) (codeccall.Codec, error) {
	key := Key{name, maxFrame}
	s.mu.Lock()
	known, ok := s.configured[key]
	s.mu.Unlock()
	if ok {
		return known.Codec, nil
	}
	c := s.config.Codec(name)
	if c == nil {
		return nil, fmt.Errorf("codec %q is not in the configuration", name)
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
	if s.closed {
		p.Release(codec)
		return nil, errClosed
	}
	if known, ok := s.configured[key]; ok { // another call was faster
		p.Release(codec)
		return known.Codec, nil
	}
	s.configured[key] = configured{codec, p}
	return codec, nil
}

// configure configures c in p. The caller must release the codec.
func (s *Set) configure(ctx context.Context, p *pluginproc.Plugin, c *config.Codec, maxFrame int) (codeccall.Codec, error) {
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

// warn records and logs the warnings about the options of c, which are allowed but probably mistakes. It does so once for each
// codec.
func (s *Set) warn(c *config.Codec, schema json.RawMessage) {
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

// Warnings returns the warnings about the options of the codecs configured so far: options that are allowed but probably
// mistakes. They are in the order of the configuration.
func (s *Set) Warnings() (all []config.Warning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.config.Codecs {
		all = append(all, s.warnings[s.config.Codecs[i].Name]...)
	}
	return all
}

// notUp returns err, the error of a plugin that did not start, with the place in the configuration of the first codec that
// needs the plugin. So all codecs of the plugin have the same error, which config.Join reports once.
func (s *Set) notUp(plugin string, err error) config.Errors {
	var at config.Position
	for i := range s.config.Codecs {
		if c := &s.config.Codecs[i]; c.Plugin == plugin {
			at = c.At
			break
		}
	}
	return config.Errors{at.Error(err.Error(), "")}
}

// StartPlugins starts the plugins that keys need, and returns when each is up or has failed to start. late joins the errors
// of plugins that were not up in time and that the Patient Pool starts again; failed joins those of the other plugins.
func (s *Set) StartPlugins(ctx context.Context, keys []Key) (late, failed error) {
	var names []string
	for _, key := range keys {
		if c := s.config.Codec(key.Name); c != nil && !slices.Contains(names, c.Plugin) {
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
			case s.pool.Patient && errors.Is(err, pluginproc.ErrStartTimeout):
				lates[i] = err
			default:
				errs[i] = s.notUp(name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(lates...), config.Join(errs...)
}

// KeysOfSide returns the codecs that connections of e, an endpoint of r, can have.
func KeysOfSide(c *config.Config, r *config.Route, e *config.Endpoint) []Key {
	names := e.Codecs()
	var keys []Key
	for i := range c.Codecs {
		if slices.Contains(names, c.Codecs[i].Name) {
			keys = append(keys, Key{c.Codecs[i].Name, r.MaxFrame(&c.Codecs[i])})
		}
	}
	return keys
}

// KeysOf returns the codecs that connections of any endpoint of r can have.
func KeysOf(c *config.Config, r *config.Route) (keys []Key) {
	for _, e := range r.Sides() {
		keys = append(keys, KeysOfSide(c, r, e)...)
	}
	return keys
}

// ConfigureAll configures the codecs that keys name concurrently, and returns all errors together. keys may repeat a codec;
// ConfigureAll sorts them in place.
func (s *Set) ConfigureAll(ctx context.Context, keys []Key) error {
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.MaxFrame, b.MaxFrame))
	})
	keys = slices.Compact(keys)
	results := make([]error, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() { _, results[i] = s.Codec(ctx, key.Name, key.MaxFrame) })
	}
	all.Wait()
	return config.Join(results...)
}

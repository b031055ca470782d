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

// A Set is the codecs of one configuration, with the plugins that they need. It is safe for concurrent use.
type Set struct {
	config *config.Config
	pool   *Pool
	users  atomic.Int32

	mu         sync.Mutex
	plugins    map[string]*pooled // by name
	configured map[Key]configured
	warnings   map[string][]config.Warning // of the options, by the codec's name
}

// configured is a codec with the plugin that releases it.
type configured struct {
	codeccall.Codec
	plugin *pluginproc.Plugin
}

// A Key is the name of a codec in the configuration, and the limit for payloads, in bytes, that a route sets it.
type Key struct {
	Name     string
	MaxFrame int
}

// Open returns the codecs of c with plugins of their own. None is configured yet, and no plugin started: that is done when they are
// first asked for. The caller closes the Set. log may be nil.
func Open(c *config.Config, log hclog.Logger) *Set {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return NewPool(pluginproc.Options{Logger: log}).Open(c)
}

// Open returns the codecs of c with plugins of p, as [Open] does.
func (p *Pool) Open(c *config.Config) *Set {
	return &Set{config: c, pool: p, plugins: map[string]*pooled{}, configured: map[Key]configured{}}
}

// Config returns the configuration.
func (s *Set) Config() *config.Config { return s.config }

// Use adds a user of the Set.
func (s *Set) Use() { s.users.Add(1) }

// Leave takes a user away.
func (s *Set) Leave() { s.users.Add(-1) }

// Used reports whether the Set has users.
func (s *Set) Used() bool { return s.users.Load() > 0 }

// Close releases the codecs and ends the plugins that no other configuration uses. No call may be made afterwards.
func (s *Set) Close() error {
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
func (s *Set) Plugin(ctx context.Context, name string) (*pluginproc.Plugin, error) {
	s.mu.Lock()
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

// Codec returns the codec of that name, configured for payloads of at most maxFrame bytes. Its plugin is started if it
// was not. What is wrong with the options comes as config.Errors, with their places; so does a plugin that does not
// start.
func (s *Set) Codec(ctx context.Context, name string, maxFrame int) (codeccall.Codec, error) {
	key := Key{name, maxFrame}
	s.mu.Lock()
	known, ok := s.configured[key]
	s.mu.Unlock()
	if ok {
		return known.Codec, nil
	}
	c := s.Find(name)
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

// warn notes what is allowed in a codec's options but probably not meant, and logs it the first time.
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

// Warnings returns what is allowed in the options of the codecs that were configured but probably not meant, in the
// order of the configuration.
func (s *Set) Warnings() (all []config.Warning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.config.Codecs {
		all = append(all, s.warnings[s.config.Codecs[i].Name]...)
	}
	return all
}

// notUp returns err, of a plugin that did not start, with the place of the first codec that needs it: one error, however
// many codecs do.
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

// StartPlugins returns when the plugins that keys need are up or have failed to start. late is of those for which it was
// only too early: await says what that is.
func (s *Set) StartPlugins(ctx context.Context, keys []Key) (late, failed error) {
	var names []string
	for _, key := range keys {
		if c := s.Find(key.Name); c != nil && !slices.Contains(names, c.Plugin) {
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

// Find returns the codec of that name; nil if the configuration has none.
func (s *Set) Find(name string) *config.Codec {
	for i := range s.config.Codecs {
		if s.config.Codecs[i].Name == name {
			return &s.config.Codecs[i]
		}
	}
	return nil
}

// KeysOfSide returns the codecs that connections of an endpoint of r can have.
func KeysOfSide(c *config.Config, r *config.Route, e *config.Endpoint) []Key {
	names := []string{e.Codec}
	for _, rule := range e.Select {
		names = append(names, rule.Codec)
	}
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

// ConfigureAll configures the codecs that keys name, which may recur, side by side, and reports everything that is wrong at once.
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

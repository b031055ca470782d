package pluginproc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A codec is in use while it has users (calls of Configure without their Release) or open directions. Then each process that
// comes up is configured with it. When it is no longer in use, no call of it is under way, since a direction is closed after
// its calls; so all processes can release it. A released codec that is used again is configured again.

// releaseTimeout is how long a process may take to release a codec. One that takes longer keeps the codec, and goes on.
const releaseTimeout = 10 * time.Second

// errReleased says that a codec is configured nowhere, since it is not in use.
var errReleased = errors.New("the codec is not in use any more")

// settings tell codecs of a plugin apart.
type settings struct {
	options  string
	maxFrame int
}

func (c *codec) settings() settings { return settings{string(c.options), c.maxFrame} }

// inUse reports whether processes have to have the codec. The plugin's mu is held.
func (c *codec) inUse() bool { return c.users+c.directions > 0 }

// Release ends one use of a codec that Configure returned. When all uses have ended, and all directions are closed, the codec is
// dropped in every process. A direction that is opened on it later configures it again.
func (p *Plugin) Release(configured codeccall.Codec) {
	c, ok := configured.(*codec)
	if !ok || c.plugin != p {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users = max(c.users-1, 0)
	p.releaseUnused(c)
}

// acquire returns the codec with these options, or a new one that processes to come are not configured with yet. The caller is
// one of its users.
func (p *Plugin) acquire(options json.RawMessage, maxFrame int) *codec {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.known(settings{string(options), maxFrame})
	if c == nil {
		c = &codec{plugin: p, options: slices.Clone(options), maxFrame: maxFrame}
	}
	c.users++
	return c
}

// known returns the codec with these settings that processes to come are configured with, or nil. p.mu is held.
func (p *Plugin) known(s settings) *codec {
	for _, c := range p.codecs {
		if c.settings() == s {
			return c
		}
	}
	return nil
}

// remember has processes to come configured with c. Where another call of Configure was faster with the same options, that
// one's codec gets c's user and is returned.
func (p *Plugin) remember(c *codec) *codec {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch known := p.known(c.settings()); known {
	case c:
		return c
	case nil:
	default:
		known.users++
		c.users--
		p.releaseUnused(c)
		return known
	}
	p.add(c)
	return c
}

// add appends c to the codecs that processes to come are configured with, and configures the spares. p.mu is held.
func (p *Plugin) add(c *codec) {
	c.released = false
	p.codecs = append(p.codecs, c)
	if p.closed {
		return
	}
	for _, in := range p.spares {
		p.work.Go(func() { _, _ = in.configured(p.ctx, c) }) // if it fails, it does so again when it matters
	}
}

// opened counts a direction of c.
func (p *Plugin) opened(c *codec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.directions++
	if c.released {
		p.add(c)
	}
}

// closedDirection counts a direction of c no longer.
func (p *Plugin) closedDirection(c *codec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.directions--
	p.releaseUnused(c)
}

// releaseUnused drops c in every process if it is not in use. p.mu is held.
func (p *Plugin) releaseUnused(c *codec) {
	if c.inUse() || c.released {
		return
	}
	c.released = true
	p.codecs = slices.DeleteFunc(p.codecs, func(other *codec) bool { return other == c })
	for in := range p.instances {
		e, ok := in.entries[c]
		if !ok {
			continue
		}
		delete(in.entries, c)
		if !p.closed {
			p.work.Go(func() { in.release(c, e) })
		}
	}
}

// release has the process drop what e has of c.
func (in *instance) release(c *codec, e *entry) {
	p := in.plugin
	<-e.ready
	if e.err != nil || in.condemned() {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, releaseTimeout)
	defer cancel()
	released, err := in.Release(ctx, e.codec)
	switch {
	case status.Code(err) == codes.Unavailable, status.Code(err) == codes.Canceled: // the process is gone, or the plugin is closed
	case err != nil:
		p.log.Warn("plugin did not release a codec, which stays in its process",
			"pid", in.pid(), "options", string(c.options), "error", err)
	case !released:
		p.mu.Lock()
		defer p.mu.Unlock()
		if in.kept == nil {
			in.kept = map[settings]codeccall.Codec{}
		}
		in.kept[c.settings()] = e.codec
	}
}

// takeKept returns what a process that can't release codecs has of one with the settings of c, or nil.
func (in *instance) takeKept(c *codec) codeccall.Codec {
	in.plugin.mu.Lock()
	defer in.plugin.mu.Unlock()
	kept := in.kept[c.settings()]
	delete(in.kept, c.settings())
	return kept
}

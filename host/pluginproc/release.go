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

// A codec is in use while it has users (calls of Configure without their Release) or open directions. While it is in use, each process
// that comes up is configured with it. When it is no longer in use, none of its calls is under way, because a direction is closed
// after its calls; so all processes can release it. A released codec that is used again is configured again.

// releaseTimeout is how long a process may take to release a codec. A process that takes longer keeps the codec and goes on.
const releaseTimeout = 10 * time.Second

// errReleased is the error of calls on a codec that no process has, because it is not in use.
var errReleased = errors.New("the codec is not in use any more")

// settings identify a codec within a plugin.
type settings struct {
	options  string
	maxFrame int
}

func (c *codec) settings() settings { return settings{string(c.options), c.maxFrame} }

// inUse reports whether processes need the codec. The plugin's mu is held.
func (c *codec) inUse() bool { return c.users+c.directions > 0 }

// Release ends one use of a codec that Configure returned. When every use has ended and every direction is closed, each process drops
// the codec. Opening a direction later configures the codec again. Release ignores a codec of another plugin.
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

// acquire returns the codec with these settings, or a new one, and counts the caller as a user. Future processes are not configured
// with a new one until remember adds it.
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

// known returns the codec with settings s that future processes are configured with, or nil. p.mu is held.
func (p *Plugin) known(s settings) *codec {
	for _, c := range p.codecs {
		if c.settings() == s {
			return c
		}
	}
	return nil
}

// remember makes sure that future processes are configured with c, and returns c. If a concurrent Configure has added a codec with the
// same settings first, remember moves c's user to that codec and returns that codec.
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

// add appends c to the codecs that future processes are configured with, and configures the spares with it. p.mu is held.
func (p *Plugin) add(c *codec) {
	c.released = false
	p.codecs = append(p.codecs, c)
	if p.closed {
		return
	}
	for _, in := range p.spares {
		p.work.Go(func() { _, _ = in.configured(p.ctx, c) }) // the entry keeps an error for the first call
	}
}

// opened counts an opened direction of c.
func (p *Plugin) opened(c *codec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.directions++
	if c.released {
		p.add(c)
	}
}

// closedDirection counts a closed direction of c.
func (p *Plugin) closedDirection(c *codec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.directions--
	p.releaseUnused(c)
}

// releaseUnused makes every process drop c if c is not in use. p.mu is held.
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

// release makes the process drop e's codec. If the process can't release codecs, release keeps the codec in in.kept for later use.
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

// takeKept removes the codec with the settings of c from in.kept and returns it, or returns nil if there is none.
func (in *instance) takeKept(c *codec) codeccall.Codec {
	in.plugin.mu.Lock()
	defer in.plugin.mu.Unlock()
	kept := in.kept[c.settings()]
	delete(in.kept, c.settings())
	return kept
}

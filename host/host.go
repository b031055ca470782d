// Package host runs a configuration until Shutdown: it starts the plugins and the routes, reloads, drains, and reports.
//
//	h, err := host.Start(ctx, configuration, host.Options{Logger: log})
//	...
//	err = h.Shutdown(ctx)
//
// # Routes
//
// A paired route makes one session for each connection. A hub has members instead: one for each connection, and one for
// each datagram socket that it receives from or sends to. A route that answers datagrams (udp.flows) has one session for
// each address that sends datagrams.
//
// # No loops
//
// The host guarantees:
//
//   - No route of this host accepts a broadcast or multicast that this host sent, on whatever interface it comes back. The
//     host recognizes such a datagram by its source: an address of this machine and a port that only one of the host's
//     sockets has.
//   - If a hub listens on a port and also sends broadcast or multicast to that port over the same interfaces, both
//     endpoints are one member. The hub does not send a frame back to the member that received it, and suppresses frames
//     that another host relays back: each frame sent suppresses at most one identical arrival on each interface, within two
//     seconds, and each frame received does the same for one arrival from another source ([relay.Hub]). So two hosts side by
//     side between two networks, each with both networks in one hub, make no loop, and frames get lost between them only
//     where the network loses them.
//   - Frames that a sender repeats pass as often as it repeats them, unless this host sent an identical frame.
//
// The host compares frames by their bytes, not by their sender. So if a copy of a frame that it sent and an identical frame
// of a true sender both arrive within two seconds, it suppresses the first as the copy and relays the second: receivers get
// the right number of frames, but perhaps one in place of the other. If no copy comes back, the true sender's frame is
// suppressed.
//
// The operator must avoid these loops and losses, which the host can't prevent:
//
//   - Circles that no single hub sees: two routes, in one host or in several, that each relay one way and together lead
//     back; a port that this host relays to a second port, and another host relays back; hubs that are connected in a ring
//     over TCP or Unix sockets, because frames from a stream are not compared with anything.
//   - More than two hosts side by side between the same networks. A third host adds copies. With four, one datagram comes
//     back more often than it was sent, and circulates for ever.
//   - Devices that send identical bytes within two seconds of each other into networks that are joined both ways: of two
//     such frames, receivers may get only one.
//   - Unicast from a host to itself, which counts as one route sending to another on purpose; and broadcasts whose source
//     is translated (NAT) on the way back.
//
// # Packages
//
// Package host turns a configuration ([config.Config]) into routes ([route.Route]), replaces routes at a reload, drains them, and
// reports on them. The packages below it do the work: plugins starts the plugins and configures codecs, route opens sockets
// and makes sessions, lan announces and finds services, quarantine keeps bytes, and control answers at the control socket. None of
// them imports package host.
package host

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/lan"
	"github.com/framehost/framehost/host/pluginproc"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
	"github.com/framehost/framehost/host/route"
)

// memoryPatience is how long a direction may make no progress while other directions wait for the memory that it holds.
const memoryPatience = 5 * time.Second

// receiverPatience is how long a sender of a hub waits for a receiver whose queue is full and whose connection accepts no bytes.
const receiverPatience = 100 * time.Millisecond

// descriptorsPerSession counts the file descriptors of a session: one connection on each side.
const descriptorsPerSession = 2

// Options say how to run a configuration. The zero value is ready to use.
type Options struct {
	Logger  hclog.Logger // must not block; nil: nothing is logged
	Version string       // for status
	// Control opens the control socket, on which the host serves status.
	Control bool

	receiverPatience time.Duration // set only by tests; 0: receiverPatience
}

// A Host runs a configuration. Its methods are safe for concurrent use.
type Host struct {
	log     hclog.Logger
	version string
	started time.Time
	pool    *plugins.Pool
	shared  route.Shared
	control *control.Server // nil: there is none

	reloading sync.Mutex // held by Reload
	changing  sync.Mutex // held while the routes change, and while the host begins to end
	mu        sync.Mutex
	config    *config.Config
	codecs    *plugins.Set   // of config
	earlier   []*plugins.Set // of earlier configurations, while routes use them
	routes    []*route.Route
	retired   []*route.Route // removed or replaced by a reload, with sessions that go on
	past      totals         // of routes that have ended and are in no configuration any more
	draining  bool
	retiring  sync.WaitGroup  // one for each retired route
	drains    sync.WaitGroup  // one for each call of Drain
	life      context.Context // ends when the host begins to end
	endLife   context.CancelCauseFunc
}

// Start runs c. It returns when every listener is open and every plugin that a route uses is up, or returns an error that
// lists everything that is wrong, and leaves nothing running. ctx limits only the start.
//
// If a plugin is not up within timeouts.start, the host starts it again, and Start does not wait for it: its routes listen,
// and connections to them wait until the plugin is up. A route whose plugins are up waits at most one second for the
// plugins of other routes. An error found after Start has returned is logged, and its route is down.
func Start(ctx context.Context, c *config.Config, options Options) (*Host, error) {
	log := options.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	h := &Host{
		log: log, version: options.Version, started: time.Now(), config: c,
		pool: plugins.NewPool(pluginproc.Options{Logger: log, Spares: 1}),
	}
	h.shared.Log, h.shared.PayloadBytes, h.shared.WireBytes = log, int(c.Log.PayloadBytes), int(c.Log.WireBytes)
	h.shared.Memory, h.shared.MemoryLimit = relay.NewMemory(int64(c.Limits.Memory), memoryPatience), int64(c.Limits.Memory)
	h.shared.ReceiverPatience = cmp.Or(options.receiverPatience, receiverPatience)
	h.pool.Patient = true
	h.life, h.endLife = context.WithCancelCause(context.Background())
	for _, warning := range c.Warnings {
		log.Warn(warning.String())
	}
	h.shared.Connections = endpoint.NewConnections(h.connectionsAllowed(c), 0)
	h.codecs = h.pool.Open(c)
	if err := h.open(ctx, options.Control); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// open makes the routes and starts them, and opens the control socket if control is set.
func (h *Host) open(ctx context.Context, control bool) error {
	c := h.config
	for i := range c.Routes {
		h.routes = append(h.routes, route.New(&h.shared, &c.Routes[i], h.codecs, nil))
	}
	return h.startRoutes(ctx, func() error {
		if control {
			return h.openControl(ctx, c.Control.Socket)
		}
		return nil
	})
}

// openControl serves the control socket at path; "" means the default path. It fails only if the configuration names the
// path: otherwise several hosts of one user, all with the default path, could not run together.
func (h *Host) openControl(ctx context.Context, path string) error {
	c, err := control.Listen(ctx, path, h)
	if err != nil && path != "" {
		return err
	}
	if err == nil {
		h.control = c
	} else if other := control.Find(ctx, ""); other != nil {
		h.log.Warn("framehost status shows another process, which has the default control socket; set control.socket to see this one",
			"path", control.DefaultSocket(), "other", other.Process())
	} else {
		h.log.Warn("framehost status will not find this process", "error", err)
	}
	return nil
}

// openQuarantine opens the quarantine if a route of c needs it and the host has not opened it yet.
func (h *Host) openQuarantine(c *config.Config) error {
	wanted := slices.ContainsFunc(c.Routes, func(r config.Route) bool { return r.OnViolation == config.ViolationQuarantine })
	if !wanted || h.shared.Quarantine.Load() != nil {
		return nil
	}
	q, err := quarantine.Open(c.Quarantine.Dir, int64(c.Quarantine.Max), h.log)
	if err != nil {
		return err
	}
	h.shared.Quarantine.Store(q)
	return nil
}

// openLAN opens discovery if a route of c uses it and the host has not opened it yet.
func (h *Host) openLAN(ctx context.Context, c *config.Config) error {
	if h.shared.LAN.Load() != nil || !lan.Uses(c) {
		return nil
	}
	interfaces, err := h.shared.Interfaces.Watcher()
	if err != nil {
		return err
	}
	l, err := lan.Open(ctx, c, interfaces, h.log.With("part", "discovery"))
	if err != nil {
		return err
	}
	h.shared.LAN.Store(l)
	return nil
}

// closeLAN closes discovery, if it is open. The routes that used it must have ended.
func (h *Host) closeLAN() {
	if l := h.shared.LAN.Swap(nil); l != nil {
		l.Close()
	}
}

// connectionsAllowed returns how many connections may be open: limits.max_connections of c, or fewer if the system does not
// have the file descriptors for as many.
func (h *Host) connectionsAllowed(c *config.Config) int {
	n, limited := endpoint.ConnectionsAllowed(c.Limits.MaxConnections, descriptorsPerSession)
	if limited && !c.IsSet("limits.max_connections") { // no warning: the operator did not ask for the default
		h.log.Debug("connections are limited by file descriptors", "effective", n)
	} else if limited {
		h.log.Warn("too few file descriptors for limits.max_connections",
			"max_connections", c.Limits.MaxConnections, "effective", n)
	}
	return n
}

// Shutdown ends the host: it stops listening, and lets the sessions of each route end for at most the route's
// timeouts.drain. Then it cuts the sessions that are left; when ctx ends, it cuts them at once. The error wraps [control.ErrCut] if
// a cut session lost anything or sessions were cut at once. Shutdown returns when nothing runs any more, and logs the
// totals of the host. A Reload that is under way changes nothing any more.
func (h *Host) Shutdown(ctx context.Context) error {
	h.endLife(errEnding)
	h.changing.Lock()
	h.mu.Lock()
	first := !h.draining
	h.draining = true
	routes := slices.Concat(h.routes, h.retired)
	h.mu.Unlock()
	h.changing.Unlock()
	before := h.totals()
	var all sync.WaitGroup
	for _, r := range routes {
		all.Go(func() { r.End(ctx) })
	}
	all.Wait()
	err := h.close()
	after := h.totals()
	if first {
		after.log(h.log, time.Since(h.started))
	}
	return errors.Join(after.cutSince(&before, ctx.Err() != nil), err)
}

// close ends the remaining sessions at once and releases everything.
func (h *Host) close() error {
	h.endLife(errEnding)
	h.mu.Lock()
	routes := slices.Concat(h.routes, h.retired)
	h.mu.Unlock()
	for _, r := range routes {
		r.EndNow()
	}
	h.pool.Kill() // so that no session waits for a plugin that does not answer
	for _, r := range routes {
		r.Stop()
	}
	h.retiring.Wait()
	h.drains.Wait()
	h.reloading.Lock() // a reload that is under way returns soon, since life has ended, and opens nothing after this
	defer h.reloading.Unlock()
	h.closeLAN()
	h.shared.Interfaces.Close()
	if h.control != nil {
		h.control.Close()
	}
	errs := []error{h.codecs.Close()}
	for _, codecs := range h.earlier {
		errs = append(errs, codecs.Close())
	}
	return errors.Join(errs...)
}

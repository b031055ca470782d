// Package host makes a configuration run: it starts the plugins, opens the listeners, and pairs connections into
// sessions, until it is told to end.
//
//	h, err := host.Start(ctx, configuration, host.Options{Logger: log})
//	...
//	err = h.Shutdown(ctx)
//
// # Routes
//
// A paired route makes a session of each connection. A hub has members instead: each connection, and each place where
// datagrams come from or go to. A route that answers datagrams (udp.flows) has a session for each address that sends some.
//
// # No loops
//
// What is guaranteed:
//
//   - A broadcast or multicast that this host sent is never taken for input, by any of its routes, on whatever interface
//     it comes back. It is known by its source, an address of this machine and a port that only one of its sockets has.
//   - Where a hub listens on a port and also sends broadcast or multicast to it, over the same interfaces, both are one
//     member. What is heard there is not sent there, and frames that another host relays back are suppressed: each frame
//     sent suppresses at most one identical arrival on each interface, within two seconds, and so does each frame heard
//     for one that comes from elsewhere ([relay.Hub]). So two hosts that stand side by side between two networks, each
//     with both in one hub, make no loop, and frames get lost between them only where the network loses them.
//   - What a sender repeats passes, as often as it repeats it, where nothing identical was sent by this host.
//
// Frames are compared by their bytes, not by who sent them. So for two seconds after a frame was sent, what comes first of
// a copy of it and a true sender's own identical frame is taken for the copy, and the other one passes for the true
// sender's: receivers get as many as they should, though perhaps the one for the other. Where no copy comes back, that
// one frame of the true sender is suppressed.
//
// What an operator must still avoid, for nothing here ends it:
//
//   - Circles that no single hub sees: two routes, in one host or in several, that each relay one way, so that together
//     they lead back; a port that is relayed to another one by this host and back by another; hubs that are connected to
//     each other in a ring over TCP or Unix sockets, for what comes in a stream is not compared with anything.
//   - More than two hosts side by side between the same networks. A third one adds copies. With four, one datagram comes
//     back more often than it was sent, and goes round without end.
//   - Devices that send identical bytes within two seconds of each other into networks that are joined both ways: of two
//     such frames, one may be all that is heard.
//   - Unicast from a host to itself, which is taken for one route that talks to another on purpose; and broadcasts whose
//     source is translated (NAT) on the way back.
//
// It puts together what know nothing of each other: config, endpoint, relay, pluginproc and discovery.
package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/pluginproc"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
)

// memoryPatience is how long a direction may make no progress, while others wait for the memory that it holds.
const memoryPatience = 5 * time.Second

// descriptorsPerSession are a connection on either side.
const descriptorsPerSession = 2

// ErrCut is wrapped by the error of a Shutdown that cut sessions which had not delivered everything.
var ErrCut = errors.New("sessions were cut before they had delivered everything")

// Options concern how a configuration is run. The zero value is ready.
type Options struct {
	Logger  hclog.Logger // must not block; nil: nothing is logged
	Version string       // for status
	// Control says whether status is served on the control socket.
	Control bool
}

// A Host runs a configuration. Its methods are safe for concurrent use.
type Host struct {
	log          hclog.Logger
	version      string
	started      time.Time
	pool         *plugins.Pool
	memory       *relay.Memory
	memoryLimit  int64
	connections  *endpoint.Connections
	payloadBytes int
	wireBytes    int                              // of a violation that are shown
	quarantine   atomic.Pointer[quarantine.Store] // nil: no route has had that policy
	violations   sync.Map                         // *violations, by the route's name
	control      *control                         // nil: there is none
	lan          *lan                             // nil: no route has needed it; mu guards it
	sessions     atomic.Uint64
	origins      endpoint.Origins // of the datagrams that this host sent
	network      network

	reloading sync.Mutex // held by Reload
	changing  sync.Mutex // held while the routes change, and while the host begins to end
	mu        sync.Mutex
	config    *config.Config
	codecs    *plugins.Set   // of config
	earlier   []*plugins.Set // of configurations before it, which routes still have
	routes    []*route
	retired   []*route // that a reload took out, and whose sessions go on
	past      totals   // of routes that have ended, and that no configuration has any more
	draining  bool
	retiring  sync.WaitGroup  // of retired
	drains    sync.WaitGroup  // of single routes
	life      context.Context // until the host begins to end
	endLife   context.CancelCauseFunc
}

// Start makes c run and returns when every listener is open and every plugin that a route uses is up; or with an error,
// of everything that is wrong, and nothing left behind. ctx is for starting alone.
//
// A plugin that has not come up within timeouts.start is started again, and Start does not wait for that: its routes listen, and
// what connects to them waits until it is up. A route whose plugins are up does not wait for those of others for
// longer than a second. What turns out to be wrong after Start has returned is logged, and its route is down.
func Start(ctx context.Context, c *config.Config, options Options) (*Host, error) {
	log := options.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	h := &Host{
		log: log, version: options.Version, started: time.Now(), config: c,
		pool:        plugins.NewPool(pluginproc.Options{Logger: log, Spares: 1}),
		memory:      relay.NewMemory(int64(c.Limits.Memory), memoryPatience),
		memoryLimit: int64(c.Limits.Memory), payloadBytes: int(c.Log.PayloadBytes), wireBytes: int(c.Log.WireBytes),
	}
	h.pool.Patient = true
	h.life, h.endLife = context.WithCancelCause(context.Background())
	for _, warning := range c.Warnings {
		log.Warn(warning.String())
	}
	h.connections = endpoint.NewConnections(h.connectionsAllowed(c), 0)
	h.codecs = h.pool.Open(c)
	if err := h.open(ctx, options.Control); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// open does what can fail.
func (h *Host) open(ctx context.Context, control bool) error {
	c := h.config
	for i := range c.Routes {
		h.routes = append(h.routes, newRoute(h, &c.Routes[i], h.codecs, newLedger(h.memory, &c.Routes[i].Limits)))
	}
	return h.startRoutes(ctx, func() error {
		if control {
			return h.openControl(ctx, c.Control.Socket)
		}
		return nil
	})
}

// openControl serves status. Only a place that was asked for must be free: several hosts of a user without a
// configuration of their own would otherwise be in each other's way.
func (h *Host) openControl(ctx context.Context, path string) error {
	asked := path != ""
	if !asked {
		path = DefaultControlSocket()
	}
	c, err := listenControl(ctx, path, !asked, h)
	if err != nil && asked {
		return err
	}
	if err != nil {
		h.warnOfOther(ctx, path, err)
		return nil
	}
	h.control = c
	h.log.Debug("control socket", "path", path)
	return nil
}

// warnOfOther says whose status is shown at the default place of the control socket, which this host could not have.
func (h *Host) warnOfOther(ctx context.Context, path string, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	var other *Status
	if checkDir(filepath.Dir(path)) == nil { // else it may be anybody's
		other, _ = QueryStatus(ctx, path)
	}
	if other == nil {
		h.log.Warn("framehost status will not find this process", "error", err)
		return
	}
	h.log.Warn("framehost status shows another process, which has the default control socket; set control.socket to see this one",
		"path", path, "other", runner(other))
}

func (h *Host) openQuarantine(c *config.Config) error {
	wanted := slices.ContainsFunc(c.Routes, func(r config.Route) bool { return r.OnViolation == config.ViolationQuarantine })
	if !wanted || h.quarantine.Load() != nil {
		return nil
	}
	q, err := quarantine.Open(c.Quarantine.Dir, int64(c.Quarantine.Max), h.log)
	if err != nil {
		return err
	}
	h.quarantine.Store(q)
	return nil
}

// connectionsAllowed is how many connections may be open, as far as the system has descriptors for them.
func (h *Host) connectionsAllowed(c *config.Config) int {
	n, limited := endpoint.ConnectionsAllowed(c.Limits.MaxConnections, descriptorsPerSession)
	if limited && !c.IsSet("limits.max_connections") { // the default is what is usual, not what was asked for
		h.log.Debug("connections are limited by file descriptors", "effective", n)
	} else if limited {
		h.log.Warn("too few file descriptors for limits.max_connections",
			"max_connections", c.Limits.MaxConnections, "effective", n)
	}
	return n
}

// Shutdown ends the host: it stops listening, and lets each route's sessions come to an end for at most its
// timeouts.drain; what is left then is cut, and what is left when ctx ends is cut at once. The error wraps ErrCut if what
// was cut lost anything, or was cut at once. It returns when nothing runs any more, and logs what the host has done in
// all. A Reload that is under way changes nothing any more.
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
		all.Go(func() { r.end(ctx) })
	}
	all.Wait()
	err := h.close()
	after := h.totals()
	if first {
		after.log(h.log, time.Since(h.started))
	}
	return errors.Join(after.cutSince(&before, ctx.Err() != nil), err)
}

// close ends what is left, at once, and releases everything.
func (h *Host) close() error {
	h.endLife(errEnding)
	h.mu.Lock()
	routes := slices.Concat(h.routes, h.retired)
	h.mu.Unlock()
	for _, r := range routes {
		r.drain()
		r.cancel(relay.DrainTimeout)
	}
	h.pool.Kill() // no session waits for a call that does not return
	for _, r := range routes {
		r.stop()
	}
	h.retiring.Wait()
	h.drains.Wait()
	h.closeLAN()
	h.network.close()
	if h.control != nil {
		h.control.close()
	}
	errs := []error{h.codecs.Close()}
	for _, codecs := range h.earlier {
		errs = append(errs, codecs.Close())
	}
	return errors.Join(errs...)
}

// Addr returns where the route of that name listens, nil if it does not; the first place of several.
func (h *Host) Addr(route string) *endpoint.Address {
	all := h.Addrs(route)
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// Addrs returns all places where the route of that name listens, in the order of its endpoints.
func (h *Host) Addrs(route string) []endpoint.Address {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []endpoint.Address
	for _, r := range h.routes {
		if r.config.Name == route {
			for _, p := range r.places() {
				all = append(all, p.address)
			}
		}
	}
	return all
}

// Status returns what the host is doing.
func (h *Host) Status() *Status {
	h.mu.Lock()
	routes, retired := h.routes, h.retired
	status := &Status{
		Version: h.version, PID: os.Getpid(), Started: h.started, Config: h.config.File, Draining: h.draining,
		Connections: h.connections.Live(), Memory: MemoryStatus{Used: h.memory.Used(), Limit: h.memoryLimit},
		Plugins: []PluginStatus{}, Routes: []RouteStatus{}, Discovery: h.lan.status(),
	}
	h.mu.Unlock()
	for _, p := range h.pool.Running() {
		status.Plugins = append(status.Plugins, pluginStatus(p))
	}
	late := h.pool.Late()
	for _, name := range slices.Sorted(maps.Keys(late)) {
		status.Plugins = append(status.Plugins, PluginStatus{Name: name, LastError: late[name].Error()})
	}
	for _, r := range routes {
		status.Routes = append(status.Routes, r.status())
	}
	for _, s := range removed(routes, retired) {
		if len(s.Sessions) > 0 || s.Hub != nil && len(s.Hub.Live) > 0 {
			status.Routes = append(status.Routes, s)
		}
	}
	return status
}

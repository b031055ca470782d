// Package route runs one route of a configuration: it opens the listeners, dials, chooses codecs, and makes sessions of
// connections, or members of a hub. Package host makes the routes, and puts new ones in the place of old ones at a reload.
//
// # The life of a route
//
// When a host starts, it calls New, Prepare and Listen, and then Start, or StartLater if a plugin is late. Prepare may still be
// running when the host calls Listen.
//
// At a reload, the host calls New, PlanTakeOver and Listen of the new routes, then TakeOver of the new routes, Retire of the old
// ones, and Start of the new ones. A new route that can't listen while an old route does (SharesAddress) listens after Retire
// instead. If the reload fails, Stop takes the place of the remaining calls.
//
// From Start on, the route relays. BeginDrain returns a [Drain], which ends live sessions; it may be called any number of times,
// also after Retire. After Retire, sessions go on, and Wait returns when the last one has ended. End or EndNow ends the sessions
// when the host ends. Every route needs a last call of Stop, which returns when nothing of the route runs any more. Stop may be
// called at any time, and again.
//
// Config, Codecs and Violations may be called at any time, from any goroutine; Status and Addresses too, except while Listen or
// TakeOver runs.
package route

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/lan"
	"github.com/framehost/framehost/host/loglimit"
	"github.com/framehost/framehost/host/plugins"
	"github.com/framehost/framehost/host/relay"
)

// A Route is a running route of the configuration. It makes sessions, or members if it is a hub.
//
// A reload that changes a route makes a new Route. Both share a ledger. The new route takes over the sockets of
// listeners whose address is the same and, if it is a hub, the members. The old route goes on until its sessions have ended.
type Route struct {
	*ledger
	shared   *Shared
	config   *config.Route
	log      hclog.Logger
	listener *endpoint.Listener // nil if both sides are dialed, or if hub or flows is set
	takes    *Route             // the old route to take over from in TakeOver; nil: none
	hub      *hub               // nil: the route is paired
	flows    *flowListener      // nil: the route does not answer datagrams
	chooser  *chooser

	// The cause of each context, once it is canceled, is a relay.Reason.
	ctx     context.Context // for sessions
	cancel  context.CancelCauseFunc
	pairing context.Context // for accepted connections that are not sessions yet
	unpair  context.CancelCauseFunc
	dials   context.Context // for dialing, announcing and looking for services
	halt    context.CancelCauseFunc
	retired chan struct{} // closed when a reload has removed or replaced the route
	work    sync.WaitGroup

	presence *lan.Presence // nil: the route neither announces itself nor looks for a service

	refusals loglimit.Limiter // for each kind of log line that peers can cause
	cuts     loglimit.Limiter
	failures loglimit.Limiter
	ends     loglimit.ByReason

	// The ledger's mu guards the fields that follow.
	codecs   *plugins.Set // of the running configuration; for a route that a reload removed or replaced, only its own
	stopped  bool         // the route has stopped, and has called codecs.Leave
	live     map[uint64]liveSession
	draining bool
	cutting  bool
	notReady string // why the route does not relay yet; "": it relays
}

// A liveSession is a session between connections or one that answers datagrams.
type liveSession interface {
	drainable
	status() control.SessionStatus
}

// New returns a route for c. codecs has the codecs that c uses. same is a route of the same name, with which the new route shares
// counts, limits and members; nil if there is none. The caller must listen and start the route, or stop it.
func New(all *Shared, c *config.Route, codecs *plugins.Set, same *Route) *Route {
	r := &Route{
		shared: all, config: c, codecs: codecs, log: all.Log.With("route", c.Name),
		chooser: newChooser(&c.From, c.Timeouts.Select),
		retired: make(chan struct{}),
		live:    map[uint64]liveSession{},
	}
	codecs.Use()
	if same == nil || !same.add(r) {
		newLedger(all.Memory, &c.Limits).add(r)
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.pairing, r.unpair = context.WithCancelCause(r.ctx)
	r.dials, r.halt = context.WithCancelCause(r.ctx)
	switch {
	case c.IsHub():
		r.hub = newHub(r)
	case answers(c):
		r.flows = newFlowListener(r)
	}
	return r
}

// Config returns the configuration of the route. The caller must not change it.
func (r *Route) Config() *config.Route { return r.config }

// Codecs returns the Set that the route uses now.
func (r *Route) Codecs() *plugins.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codecs
}

// Listen opens the listeners of the route and the datagram sockets of a hub, except those that it takes over, and prepares
// discovery.
func (r *Route) Listen(ctx context.Context) error {
	err := r.open(ctx)
	if err == nil {
		r.presence, err = r.shared.LAN.Load().Join(r.config, r.bound, r.log)
	}
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	return nil
}

func (r *Route) open(ctx context.Context) (err error) {
	switch {
	case r.hub != nil:
		return r.hub.listen(ctx)
	case r.takes != nil:
	case r.flows != nil:
		return r.flows.listen(ctx)
	case r.config.From.Listen != nil:
		r.listener, err = r.listenOn(ctx, &r.config.From)
	}
	return err
}

// listenOn opens a listener for connections.
func (r *Route) listenOn(ctx context.Context, e *config.Endpoint) (*endpoint.Listener, error) {
	return endpoint.Listen(ctx, addressOfEndpoint(e.Listen), r.listenOptions(e))
}

func (r *Route) listenOptions(e *config.Endpoint) endpoint.ListenOptions {
	options := endpoint.ListenOptions{
		Keepalive: r.keepalive(),
		Admission: endpoint.Admission{Allow: e.Allow, Deny: e.Deny, Limit: []*endpoint.Connections{r.shared.Connections, r.connections}},
		Refused:   r.refuse,
		AcceptFailed: func(err error, wait time.Duration) {
			r.log.Error("a connection could not be accepted", "error", err, "again_in", wait)
		},
	}
	if e.Listen.Scheme == "unix" {
		options.Mode = e.Mode
	}
	return options
}

func (r *Route) keepalive() endpoint.Keepalive {
	return endpoint.Keepalive{Interval: r.config.Timeouts.Keepalive, WriteTimeout: r.config.Timeouts.Write}
}

func (r *Route) refuse(remote net.Addr, reason string) {
	r.mu.Lock()
	r.refused++
	r.mu.Unlock()
	r.refusals.Log(r.log.Warn, "connection refused", "downstream", remote.String(), "reason", string(relay.Refused), "why", reason)
}

// Start begins to relay.
func (r *Route) Start() {
	r.presence.Run(r.dials, r.work.Go)
	r.log.Info("route started", "from", r.from(), "to", r.to())
	switch {
	case r.hub != nil:
		r.hub.start()
	case r.flows != nil:
		r.flows.start()
	case r.config.From.Listen == nil:
		r.work.Go(r.pairDials)
	case r.listener != nil: // nil: TakeOver failed, as Reload has reported
		r.work.Go(func() { r.acceptFrom(r.listener, r.serve) })
	}
}

func addressOfEndpoint(a *config.Address) endpoint.Address {
	network, address := a.Network()
	return endpoint.Address{Network: network, Address: address}
}

// answers reports whether the route keeps a session for each address that sends datagrams.
func answers(r *config.Route) bool { return !r.IsHub() && r.From.Datagrams() }

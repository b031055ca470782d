package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
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

// A route is a running route of the configuration. It makes sessions, or members if it is a hub.
//
// A reload that changes a route makes a new route value. Both share a ledger. The new route takes over the sockets of
// listeners whose address is the same and, if it is a hub, the members. The old route goes on until its sessions have ended.
type route struct {
	*ledger
	host     *Host
	config   *config.Route
	log      hclog.Logger
	listener *endpoint.Listener // nil if both sides are dialed, or if hub or flows is set
	takes    *route             // the old route to take over from in takeOver; nil: none
	hub      *hub               // nil: the route is paired
	flows    *udpListener       // nil: the route does not answer datagrams
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

	violations *violations // the last ones, also those of routes with this name before a reload

	// The ledger's mu guards the fields that follow.
	codecs   *plugins.Set // of the running configuration; for a route that a reload removed or replaced, only its own
	stopped  bool         // the route has stopped, and has called codecs.Leave
	live     map[uint64]liveSession
	draining bool
	cutting  bool
	notReady string // why the route does not relay yet; "": it relays
}

// A ledger is shared by all routes that have, or had, the same name.
type ledger struct {
	memory      *relay.Memory // the share of a route
	connections *endpoint.Connections
	pair        chan struct{} // holds a token while there is a pair of dialed connections

	mu       sync.Mutex
	routes   []*route // routes that have not stopped, oldest first
	accepted int64
	refused  int64
	closed   map[string]int64         // ended sessions by reason
	done     relay.Stats              // sums over ended sessions
	room     *room                    // the members of hubs; nil: none of the routes has been a hub
	turns    map[string]chan struct{} // see turnOf
	drains   []*drain                 // drains that wait for sessions to end
	added    bool                     // the counts are in Host.past
}

func newLedger(memory *relay.Memory, limits *config.Limits) *ledger {
	return &ledger{
		memory:      memory.Route(),
		connections: endpoint.NewConnections(limits.MaxConnections, limits.MaxConnectionsPerAddress),
		pair:        make(chan struct{}, 1), closed: map[string]int64{},
	}
}

// A liveSession is a session between connections or one that answers datagrams.
type liveSession interface {
	drainable
	status() control.SessionStatus
}

// newRoute returns a route. The caller must listen and start it, or stop it. l is the ledger of the routes with its name.
func newRoute(h *Host, c *config.Route, codecs *plugins.Set, l *ledger) *route {
	r := &route{
		ledger: l, host: h, config: c, codecs: codecs, log: h.log.With("route", c.Name),
		chooser:    newChooser(&c.From, c.Timeouts.Select),
		violations: h.violationsOf(c.Name), retired: make(chan struct{}),
		live: map[uint64]liveSession{},
	}
	codecs.Use()
	l.mu.Lock()
	l.routes = append(l.routes, r)
	l.mu.Unlock()
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.pairing, r.unpair = context.WithCancelCause(r.ctx)
	r.dials, r.halt = context.WithCancelCause(r.ctx)
	switch {
	case c.IsHub():
		r.hub = newHub(r)
	case answers(c):
		r.flows = newFlows(r)
	}
	return r
}

// listen opens the listeners of the route and the datagram sockets of a hub, except those that it takes over, and prepares
// discovery.
func (r *route) listen(ctx context.Context) error {
	err := r.open(ctx)
	if err == nil {
		r.presence, err = r.host.lan.Join(r.config, r.bound, r.log)
	}
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	return nil
}

func (r *route) open(ctx context.Context) (err error) {
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

// takeOver takes over sockets and members from r.takes, if that is set.
func (r *route) takeOver() (err error) {
	switch {
	case r.takes == nil:
		return nil
	case r.hub != nil:
		err = r.hub.takeOver(r.takes.hub)
	case r.flows != nil:
		r.flows = r.takes.flows.passTo(r)
	default:
		r.listener, err = r.takes.listener.Transfer(r.listenOptions(&r.config.From))
	}
	r.takes = nil
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	return nil
}

// listenOn opens a listener for connections.
func (r *route) listenOn(ctx context.Context, e *config.Endpoint) (*endpoint.Listener, error) {
	return endpoint.Listen(ctx, addressOfEndpoint(e.Listen), r.listenOptions(e))
}

func (r *route) listenOptions(e *config.Endpoint) endpoint.ListenOptions {
	options := endpoint.ListenOptions{
		Keepalive: r.keepalive(),
		Admission: endpoint.Admission{Allow: e.Allow, Deny: e.Deny, Limit: []*endpoint.Connections{r.host.connections, r.connections}},
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

// start begins to relay.
func (r *route) start() {
	r.presence.Run(r.dials, r.work.Go)
	r.log.Info("route started", "from", r.from(), "to", r.to())
	switch {
	case r.hub != nil:
		r.hub.start()
	case r.flows != nil:
		r.flows.start()
	case r.listener == nil:
		r.work.Go(r.pairDials)
	default:
		r.work.Go(func() { r.acceptFrom(r.listener, r.serve) })
	}
}

// acceptFrom serves each connection that l accepts, until l is closed.
func (r *route) acceptFrom(l *endpoint.Listener, serve func(*endpoint.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
		r.work.Go(func() { serve(conn) })
	}
}

// serve chooses the codec of a connection, dials the upstream and relays.
func (r *route) serve(downstream *endpoint.Conn) {
	id := r.host.sessions.Add(1)
	log := r.log.With("session", id, "downstream", addressOf(downstream))
	codec, err := r.chooser.choose(r.pairing, downstream)
	if err != nil {
		_ = downstream.Reset()
		r.recordNotStarted(log, reasonFor(r.pairing, err), err)
		return
	}
	upstream, err := r.dial(r.pairing, &r.config.To)
	if err != nil {
		_ = downstream.Reset()
		reason := relay.ConnectFailed
		if r.pairing.Err() != nil {
			reason = reasonFor(r.pairing, err)
		}
		r.recordNotStarted(log, reason, err)
		return
	}
	r.relay(id, downstream, upstream, codec)
}

// reasonFor returns the reason for which a session failed: the cause of ctx if ctx has ended, otherwise that of err.
func reasonFor(ctx context.Context, err error) relay.Reason {
	reason := reasonOf(err)
	if ctx.Err() != nil {
		errors.As(context.Cause(ctx), &reason)
	}
	return reason
}

// recordNotStarted logs and counts a connection that did not become a session.
func (r *route) recordNotStarted(log hclog.Logger, reason relay.Reason, err error) {
	log.Warn("no session", "reason", string(reason), "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[string(reason)]++
}

// relay runs a session between two connections. It owns both.
func (r *route) relay(id uint64, downstream, upstream *endpoint.Conn, codec string) {
	s, err := r.newSession(r.ctx, id, downstream, upstream, codec)
	if err != nil {
		_ = downstream.Reset()
		_ = upstream.Reset()
		r.recordNotStarted(r.log.With("session", id), relay.CodecFailed, err)
		return
	}
	r.join(id, s)
	result := s.run()
	for _, side := range s.links {
		side.wait()
	}
	r.leave(id, result)
}

// join adds a session to the live ones, and drains or cuts it if the route is draining or cutting.
func (r *route) join(id uint64, s liveSession) {
	r.mu.Lock()
	r.live[id] = s
	draining, cutting := r.draining, r.cutting
	r.mu.Unlock()
	if draining {
		s.Drain()
	}
	if cutting {
		s.Cut()
	}
}

// leave removes a session that has ended from the live ones, and adds its counts to those of the ledger.
func (r *route) leave(id uint64, result relay.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.live[id].status()
	delete(r.live, id)
	r.closed[string(result.Reason)]++
	r.drained(&control.DrainedSession{
		ID: id, Downstream: one.Downstream, Upstream: one.Upstream, Age: result.Stats.Age, Reason: string(result.Reason),
		FramesNotDelivered: result.Stats.ToUpstream.FramesNotDelivered + result.Stats.ToDownstream.FramesNotDelivered,
		BytesNotDelivered:  result.Stats.ToUpstream.BytesNotDelivered + result.Stats.ToDownstream.BytesNotDelivered,
	})
	r.done.ToUpstream.Add(&result.Stats.ToUpstream)
	r.done.ToDownstream.Add(&result.Stats.ToDownstream)
}

// pairDials keeps one session between two dialed connections: when the session ends, pairDials dials both again. If an
// earlier configuration of the route still has a pair, pairDials waits for the end of that pair first.
func (r *route) pairDials() {
	select {
	case r.pair <- struct{}{}:
	case <-r.dials.Done():
		return
	}
	defer func() { <-r.pair }()
	from, to := r.redialer(&r.config.From), r.redialer(&r.config.To)
	for {
		downstream, err := from.Next(r.dials)
		if err != nil {
			return
		}
		upstream, err := to.Next(r.dials)
		if err != nil {
			_ = downstream.Close()
			return
		}
		r.relay(r.host.sessions.Add(1), downstream, upstream, r.config.From.Codec)
		if r.dials.Err() != nil {
			return
		}
	}
}

func (r *route) redialer(e *config.Endpoint) *endpoint.Redialer {
	return &endpoint.Redialer{
		Dial: func(ctx context.Context) (*endpoint.Conn, error) { return r.dial(ctx, e) },
		Min:  e.Reconnect.Min, Max: e.Reconnect.Max,
		Failed: func(err error, wait time.Duration) {
			r.log.Warn("connecting failed", "reason", string(relay.ConnectFailed), "error", err, "again_in", wait)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.closed[string(relay.ConnectFailed)]++
		},
	}
}

func (r *route) dial(ctx context.Context, e *config.Endpoint) (*endpoint.Conn, error) {
	if e.Dial.Scheme == "discover" {
		return r.dialService(ctx, e)
	}
	return endpoint.Dial(ctx, addressOfEndpoint(e.Dial), endpoint.DialOptions{Timeout: r.config.Timeouts.Connect, Keepalive: r.keepalive()})
}

// dialService connects to the service of e, at the first of its addresses that answers. The wait for an address and all attempts
// together may take timeouts.connect: an address that does not answer may use up all of it, but then the next call tries another
// one.
func (r *route) dialService(ctx context.Context, e *config.Endpoint) (conn *endpoint.Conn, err error) {
	if limit := r.config.Timeouts.Connect; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
		defer cancel()
	}
	err = r.presence.Find(ctx, e.Dial.Service, func(at netip.AddrPort) (err error) {
		conn, err = endpoint.Dial(ctx, endpoint.Address{Network: "tcp", Address: at.String()}, endpoint.DialOptions{Keepalive: r.keepalive()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", e.Dial, err)
	}
	return conn, nil
}

func (r *route) keepalive() endpoint.Keepalive {
	return endpoint.Keepalive{Interval: r.config.Timeouts.Keepalive, WriteTimeout: r.config.Timeouts.Write}
}

func (r *route) refuse(remote net.Addr, reason string) {
	r.mu.Lock()
	r.refused++
	r.mu.Unlock()
	r.refusals.Log(r.log.Warn, "connection refused", "downstream", remote.String(), "reason", string(relay.Refused), "why", reason)
}

// retire stops listening, dialing and announcing. Sessions go on.
func (r *route) retire() {
	close(r.retired)
	r.stopAccepting()
	if r.hub != nil {
		r.hub.retire()
	}
}

func (r *route) stopAccepting() {
	r.halt(relay.Drained)
	switch {
	case r.hub != nil:
		r.hub.halt()
	case r.flows != nil:
		r.flows.retire(r)
	case r.listener != nil:
		_ = r.listener.Close()
	}
}

// drain stops listening, dialing and announcing, and asks sessions to end in good order. They go on until they can.
func (r *route) drain() {
	r.drainSessions()
	if r.hub != nil {
		r.hub.Drain(relay.Drained)
	}
}

// drainSessions is like drain, but does not drain the members of a hub.
func (r *route) drainSessions() {
	r.mu.Lock()
	r.draining = true
	live := slices.Collect(maps.Values(r.live))
	r.mu.Unlock()
	r.stopAccepting()
	for _, s := range live {
		s.Drain()
	}
}

// cut soon ends the sessions that are left after a drain: they still write the frames that they have read. Members of a hub
// end at once.
func (r *route) cut() {
	r.mu.Lock()
	r.cutting = true
	live := slices.Collect(maps.Values(r.live))
	r.mu.Unlock()
	r.unpair(relay.DrainTimeout)
	if r.hub != nil {
		r.cancel(relay.DrainTimeout)
	}
	for _, s := range live {
		s.Cut()
	}
}

// cutPatience is how long a session that was cut may take to end before it is ended at once. In this time it writes its
// frames and waits until the peer has acknowledged them.
const cutPatience = 3 * time.Second

// end drains the route, cuts the sessions that are left after timeouts.drain, and ends at once those that are left after
// cutPatience, or when ctx ends. It does not wait for sessions that it ended at once: they may be waiting for an answer from
// a plugin.
func (r *route) end(ctx context.Context) {
	r.drain()
	idle := make(chan struct{})
	go func() {
		r.work.Wait()
		close(idle)
	}()
	limit := r.config.Timeouts.Drain
	if await(ctx, idle, limit) {
		return
	}
	if ctx.Err() == nil {
		r.log.Warn("timeouts.drain has passed: sessions that are left are cut", "drain", limit, "left", r.left())
		r.cut()
		if await(ctx, idle, cutPatience) {
			return
		}
	} else if n := r.left(); n > 0 {
		r.log.Warn("sessions that are left are cut at once", "left", n, "why", context.Cause(ctx))
	}
	r.cancel(relay.DrainTimeout)
}

// await waits until done is closed, limit (0: no limit) has passed, or ctx ends. It reports whether done is closed.
func await(ctx context.Context, done <-chan struct{}, limit time.Duration) bool {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// left returns how many live sessions or hub members there are.
func (r *route) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hub != nil {
		return r.hub.Stats().Members
	}
	return len(r.live)
}

// stop ends the route at once and waits until it has ended. Other routes of the same name, and the members that they have in
// the same room, go on.
func (r *route) stop() {
	r.mu.Lock()
	alone := !slices.ContainsFunc(r.routes, func(o *route) bool { return o != r })
	r.mu.Unlock()
	if alone {
		r.drain()
	} else {
		r.drainSessions()
	}
	r.cancel(relay.DrainTimeout)
	switch { // a route that was never started has no goroutine that closes these
	case r.hub != nil:
		r.hub.close()
	case r.flows != nil:
		r.flows.abandon(r)
	}
	r.work.Wait()
	r.ends.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.stopped = true
		r.codecs.Leave()
		r.routes = slices.DeleteFunc(r.routes, func(o *route) bool { return o == r })
	}
}

// adopt makes the route use codecs, a Set in which the route's codecs are the same, in place of its present Set. With the Set
// of an earlier configuration the route would also keep the plugins of that configuration's other routes.
func (r *route) adopt(codecs *plugins.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		codecs.Use()
		r.codecs.Leave()
		r.codecs = codecs
	}
}

// currentCodecs returns the Set that the route uses now.
func (r *route) currentCodecs() *plugins.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codecs
}

// places returns the addresses where the route listens, in the order of its endpoints.
func (r *route) places() []boundAddress {
	switch {
	case r.hub != nil:
		return r.hub.places()
	case r.takes != nil:
		return []boundAddress{{&r.config.From, r.takes.places()[0].address}}
	case r.flows != nil && r.flows.conn != nil:
		return []boundAddress{{&r.config.From, r.flows.addr()}}
	case r.listener != nil:
		return []boundAddress{{&r.config.From, r.listener.Addr()}}
	}
	return nil
}

// A boundAddress is the address where an endpoint listens, with the real port instead of port 0.
type boundAddress struct {
	endpoint *config.Endpoint
	address  endpoint.Address
}

// bound returns the address where e listens; "" if e does not listen.
func (r *route) bound(e *config.Endpoint) string {
	for _, p := range r.places() {
		if p.endpoint == e {
			return p.address.Address
		}
	}
	return ""
}

func (r *route) from() string { return r.describe(&r.config.From) }

func (r *route) to() string {
	var all []string
	for _, e := range r.config.Sides()[1:] {
		all = append(all, r.describe(e))
	}
	return strings.Join(all, ", ")
}

// describe returns "listen" or "dial" and the address of e, with the real port if e listens.
func (r *route) describe(e *config.Endpoint) string {
	for _, p := range r.places() {
		if p.endpoint == e {
			return "listen " + p.address.String()
		}
	}
	return describe(e)
}

func describe(e *config.Endpoint) string {
	if e.Listen != nil {
		return "listen " + e.Listen.String()
	}
	return "dial " + e.Dial.String()
}

func (r *route) status() control.RouteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := control.RouteStatus{
		Name: r.config.Name, From: r.from(), To: r.to(), Accepted: r.accepted, Refused: r.refused,
		Closed: maps.Clone(r.closed), ToUpstream: r.done.ToUpstream, ToDownstream: r.done.ToDownstream,
		Sessions: []control.SessionStatus{}, Announced: r.presence.Announced(), Services: r.presence.Found(), NotReady: r.notReady,
	}
	for _, s := range r.allLive() {
		one := s.status()
		status.ToUpstream.Add(&one.ToUpstream)
		status.ToDownstream.Add(&one.ToDownstream)
		status.Sessions = append(status.Sessions, one)
	}
	slices.SortFunc(status.Sessions, func(a, b control.SessionStatus) int { return cmp.Compare(a.ID, b.ID) })
	switch {
	case r.hub != nil:
		r.hub.status(&status)
	case r.flows != nil && r.flows.conn != nil:
		status.Flows = r.flows.status()
	}
	return status
}

// turnOf returns the channel that lets only one side at a time connect to the dialed endpoint called name, among all hubs
// with this ledger. The side that is connected, or is connecting, has put a token into the channel.
func (l *ledger) turnOf(name string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns == nil {
		l.turns = map[string]chan struct{}{}
	}
	if l.turns[name] == nil {
		l.turns[name] = make(chan struct{}, 1)
	}
	return l.turns[name]
}

// allLive returns the live sessions of all routes with this ledger. The caller holds mu.
func (l *ledger) allLive() (all []liveSession) {
	for _, r := range l.routes {
		all = slices.AppendSeq(all, maps.Values(r.live))
	}
	return all
}

func addressOfEndpoint(a *config.Address) endpoint.Address {
	network, address := a.Network()
	return endpoint.Address{Network: network, Address: address}
}

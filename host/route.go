package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A route is a running route of the configuration: it makes sessions.
type route struct {
	host        *Host
	config      *config.Route
	codecs      *Codecs
	log         hclog.Logger
	listener    *endpoint.Listener // nil where both sides are dialled
	chooser     *chooser
	connections *endpoint.Connections

	ctx    context.Context // of its sessions; its cause is a relay.Reason
	cancel context.CancelCauseFunc
	dials  context.Context // of what waits for a session to begin
	halt   context.CancelCauseFunc
	work   sync.WaitGroup
	leave  sync.Once // the codecs

	refusals sometimes // log lines

	mu       sync.Mutex
	live     map[uint64]*session
	ending   relay.Reason // why the route drains; "": it does not
	accepted int64
	refused  int64
	closed   map[string]int64
	done     relay.Stats // of sessions that ended
}

func newRoute(h *Host, c *config.Route, codecs *Codecs) *route {
	r := &route{
		host: h, config: c, codecs: codecs, log: h.log.With("route", c.Name),
		chooser:     newChooser(&c.From, c.Timeouts.Select),
		connections: endpoint.NewConnections(c.Limits.MaxConnections, c.Limits.MaxConnectionsPerAddress),
		live:        map[uint64]*session{}, closed: map[string]int64{},
	}
	codecs.users.Add(1)
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.dials, r.halt = context.WithCancelCause(r.ctx)
	return r
}

// listen opens the route's listener, if it has one.
func (r *route) listen(ctx context.Context) error {
	e := &r.config.From
	if e.Listen == nil {
		return nil
	}
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
	l, err := endpoint.Listen(ctx, addressOfEndpoint(e.Listen), options)
	if err != nil {
		return fmt.Errorf("route %s: %w", r.config.Name, err)
	}
	r.listener = l
	return nil
}

// start begins to make sessions.
func (r *route) start() {
	if r.listener == nil {
		r.log.Info("route started", "from", r.from(), "to", r.to())
		r.work.Go(r.pairDials)
		return
	}
	r.log.Info("route started", "from", "listen "+r.listener.Addr().String(), "to", r.to())
	r.work.Go(r.accept)
}

// accept makes a session of each connection, until the listener is closed.
func (r *route) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
		r.work.Go(func() { r.serve(conn) })
	}
}

// serve chooses the codec of a connection, dials the upstream and relays.
func (r *route) serve(downstream *endpoint.Conn) {
	id := r.host.sessions.Add(1)
	log := r.log.With("session", id, "downstream", addressOf(downstream))
	codec, err := r.chooser.choose(r.dials, downstream)
	if err != nil {
		_ = downstream.Reset()
		r.never(log, reasonFor(r.dials, err), err)
		return
	}
	upstream, err := r.dial(r.dials, &r.config.To)
	if err != nil {
		_ = downstream.Reset()
		reason := relay.ConnectFailed
		if r.dials.Err() != nil {
			reason = reasonFor(r.dials, err)
		}
		r.never(log, reason, err)
		return
	}
	r.relay(id, downstream, upstream, codec)
}

// reasonFor is the reason of a session that never began: that of ctx if it ended, or else that of err.
func reasonFor(ctx context.Context, err error) relay.Reason {
	reason := reasonOf(err)
	if ctx.Err() != nil {
		errors.As(context.Cause(ctx), &reason)
	}
	return reason
}

// never logs and counts a session that never began.
func (r *route) never(log hclog.Logger, reason relay.Reason, err error) {
	log.Warn("no session", "reason", string(reason), "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[string(reason)]++
}

// relay runs a session between two connections, which it takes over.
func (r *route) relay(id uint64, downstream, upstream *endpoint.Conn, codec string) {
	s, err := r.newSession(r.ctx, id, downstream, upstream, codec)
	if err != nil {
		_ = downstream.Reset()
		_ = upstream.Reset()
		r.never(r.log.With("session", id), relay.CodecFailed, err)
		return
	}
	r.mu.Lock()
	r.live[id] = s
	ending := r.ending
	r.mu.Unlock()
	if ending != "" {
		s.Drain(ending)
	}
	result := s.run(r.ctx)
	for _, side := range s.links {
		side.wait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, id)
	r.closed[string(result.Reason)]++
	r.done.ToUpstream = addFlow(r.done.ToUpstream, result.Stats.ToUpstream)
	r.done.ToDownstream = addFlow(r.done.ToDownstream, result.Stats.ToDownstream)
}

// pairDials keeps one session between two dialled connections, and makes it again when it ends.
func (r *route) pairDials() {
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
	return endpoint.Dial(ctx, addressOfEndpoint(e.Dial), endpoint.DialOptions{Timeout: r.config.Timeouts.Connect, Keepalive: r.keepalive()})
}

func (r *route) keepalive() endpoint.Keepalive {
	return endpoint.Keepalive{Interval: r.config.Timeouts.Keepalive, WriteTimeout: r.config.Timeouts.Write}
}

func (r *route) refuse(remote net.Addr, reason string) {
	r.mu.Lock()
	r.refused++
	r.mu.Unlock()
	leftOut, ok := r.refusals.now()
	if !ok {
		return
	}
	fields := []any{"downstream", remote.String(), "reason", string(relay.Refused), "why", reason}
	if leftOut > 0 {
		fields = append(fields, "more_since_the_last_line", leftOut)
	}
	r.log.Warn("connection refused", fields...)
}

// drain ends listening and dialling, and asks the sessions to end in good order. The first reason counts.
func (r *route) drain(reason relay.Reason) {
	r.mu.Lock()
	if r.ending == "" {
		r.ending = reason
	}
	reason = r.ending
	live := slices.Collect(maps.Values(r.live))
	r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close()
	}
	r.halt(reason)
	for _, s := range live {
		s.Drain(reason)
	}
}

// end drains the route, for as long as its timeout and ctx allow, cuts what is left then, and returns how many sessions
// that were. It doesn't wait for what it cut, for that may be in a call that only its plugin can end.
func (r *route) end(ctx context.Context, reason relay.Reason) (cut int) {
	if limit := r.config.Timeouts.Drain; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("timeouts.drain, %v, has passed", limit))
		defer cancel()
	}
	r.drain(reason)
	idle := make(chan struct{})
	go func() {
		r.work.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		r.mu.Lock()
		cut = len(r.live)
		r.mu.Unlock()
		if cut > 0 {
			r.log.Warn("sessions that have not ended are cut", "sessions", cut, "why", context.Cause(ctx))
		}
		r.cancel(reason)
	}
	return cut
}

// stop ends what is left of a route that was drained, and waits for it.
func (r *route) stop(reason relay.Reason) {
	r.drain(reason)
	r.cancel(reason)
	r.work.Wait()
	r.leave.Do(func() { r.codecs.users.Add(-1) })
}

func (r *route) from() string {
	if r.listener != nil {
		return "listen " + r.listener.Addr().String()
	}
	return describe(&r.config.From)
}

func (r *route) to() string { return describe(&r.config.To) }

func describe(e *config.Endpoint) string {
	if e.Listen != nil {
		return "listen " + e.Listen.String()
	}
	return "dial " + e.Dial.String()
}

func (r *route) status() RouteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := RouteStatus{
		Name: r.config.Name, From: r.from(), To: r.to(), Accepted: r.accepted, Refused: r.refused,
		Closed: maps.Clone(r.closed), ToUpstream: r.done.ToUpstream, ToDownstream: r.done.ToDownstream,
		Sessions: []SessionStatus{},
	}
	for _, s := range r.live {
		one := s.status()
		status.ToUpstream = addFlow(status.ToUpstream, one.ToUpstream)
		status.ToDownstream = addFlow(status.ToDownstream, one.ToDownstream)
		status.Sessions = append(status.Sessions, one)
	}
	slices.SortFunc(status.Sessions, func(a, b SessionStatus) int { return cmp.Compare(a.ID, b.ID) })
	return status
}

func addressOfEndpoint(a *config.Address) endpoint.Address {
	network, address := a.Network()
	return endpoint.Address{Network: network, Address: address}
}

package route

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// serve chooses the codec of a connection, dials the upstream and relays.
func (r *Route) serve(downstream *endpoint.Conn) {
	id := r.shared.sessions.Add(1)
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
func (r *Route) recordNotStarted(log hclog.Logger, reason relay.Reason, err error) {
	log.Warn("no session", "reason", string(reason), "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[string(reason)]++
}

// relay runs a session between two connections. It owns both.
func (r *Route) relay(id uint64, downstream, upstream *endpoint.Conn, codec string) {
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
func (r *Route) join(id uint64, s liveSession) {
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
func (r *Route) leave(id uint64, result relay.Result) {
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
func (r *Route) pairDials() {
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
		r.relay(r.shared.sessions.Add(1), downstream, upstream, r.config.From.Codec)
		if r.dials.Err() != nil {
			return
		}
	}
}

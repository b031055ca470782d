package route

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A session is one live pairing of two connections on a route.
type session struct {
	*relay.Session
	id                   uint64
	downstream, upstream string // addresses
	codecs               [2]string
	links                [2]*link
	log                  hclog.Logger
	reports              *reporter
	ctx                  context.Context
	cutOff               context.CancelCauseFunc
}

// newSession pairs two connections. On error, the caller still owns them.
func (r *Route) newSession(ctx context.Context, id uint64, downstream, upstream *endpoint.Conn, downstreamCodec string) (*session, error) {
	s := &session{
		id: id, downstream: addressOf(downstream), upstream: addressOf(upstream),
		codecs: [2]string{downstreamCodec, r.config.To.Codec},
		links:  [2]*link{newLink(downstream), newLink(upstream)},
	}
	s.log = r.log.With("session", id, "downstream", s.downstream)
	s.reports = r.sessionReporter(s.log, id, s.downstream, s.upstream, s.codecs)
	from, err := r.side(ctx, s, "downstream", s.links[0], &r.config.From, downstreamCodec)
	if err != nil {
		return nil, err
	}
	to, err := r.side(ctx, s, "upstream", s.links[1], &r.config.To, r.config.To.Codec)
	if err != nil {
		return nil, err
	}
	s.Session, err = relay.New(relay.Config{
		Downstream: from, Upstream: to,
		Timeouts:    r.timeouts(),
		OnViolation: relay.OnViolation(r.config.OnViolation),
		Memory:      r.memory, Peer: ipOf(downstream), Classify: reasonOf,
		Violation:  s.reports.violation,
		Quarantine: r.quarantines(id), WireBytes: r.shared.WireBytes,
	})
	if err != nil {
		return nil, err
	}
	s.ctx, s.cutOff = context.WithCancelCause(ctx)
	return s, nil
}

// abort ends the session at once.
func (s *session) abort() { s.cutOff(relay.DrainTimeout) }

// side returns the side of s for endpoint e. name is "downstream" or "upstream", for the log lines of the codec.
func (r *Route) side(ctx context.Context, s *session, name string, l *link, e *config.Endpoint, codec string) (
	relay.Side, error) {
	side := relay.Side{Link: l, Use: relay.Use(e.Direction), Shutdown: e.Shutdown}
	if codec == config.NoCodec {
		return side, nil
	}
	var err error
	side.Codec, err = r.tappedCodec(ctx, s.log.With("from", name), codec)
	return side, err
}

// run relays until the session is over, and logs how it ended.
func (s *session) run() relay.Result {
	ctx := s.ctx
	defer s.cutOff(nil)
	s.log.Debug("session begins", "upstream", s.upstream, "downstream_codec", s.codecs[0], "upstream_codec", s.codecs[1])
	result := s.Run(ctx)
	if result.Reason == relay.CodecFailed && ctx.Err() != nil { // the codec's process was ended with the session
		result.Reason, result.Err = reasonFor(ctx, nil), nil
	}
	s.reports.sessionEnded(s.upstream, &result)
	return result
}

func (s *session) status() control.SessionStatus {
	stats := s.Stats()
	return control.SessionStatus{
		ID: s.id, Downstream: s.downstream, Upstream: s.upstream, DownstreamCodec: s.codecs[0], UpstreamCodec: s.codecs[1],
		Age: stats.Age, ToUpstream: stats.ToUpstream, ToDownstream: stats.ToDownstream,
	}
}

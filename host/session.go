package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
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
	skipped              sometimes // log lines about violations
}

// newSession pairs two connections, which it takes over.
func (r *route) newSession(ctx context.Context, id uint64, downstream, upstream *endpoint.Conn, downstreamCodec string) (*session, error) {
	s := &session{
		id: id, downstream: addressOf(downstream), upstream: addressOf(upstream),
		codecs: [2]string{downstreamCodec, r.config.To.Codec},
		links:  [2]*link{newLink(downstream), newLink(upstream)},
	}
	s.log = r.log.With("session", id, "downstream", s.downstream)
	from, err := r.side(ctx, s, "downstream", s.links[0], &r.config.From, downstreamCodec)
	if err != nil {
		return nil, err
	}
	to, err := r.side(ctx, s, "upstream", s.links[1], &r.config.To, r.config.To.Codec)
	if err != nil {
		return nil, err
	}
	t := &r.config.Timeouts
	s.Session, err = relay.New(relay.Config{
		Downstream: from, Upstream: to,
		Timeouts:    relay.Timeouts{Idle: t.Idle, Frame: t.Frame, Write: t.Write, HalfClose: t.HalfClose},
		OnViolation: relay.OnViolation(r.config.OnViolation),
		Memory:      r.host.memory, Classify: reasonOf,
		Violation:  func(v relay.Violation) { s.violated(&v) },
		Quarantine: func(v relay.Violation) io.WriteCloser { return r.quarantine(s, &v) },
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (r *route) side(ctx context.Context, s *session, name string, l *link, e *config.Endpoint, codec string) (
	relay.Side, error) {
	side := relay.Side{Link: l, Use: relay.Use(e.Direction), Shutdown: e.Shutdown}
	if codec == config.NoCodec {
		return side, nil
	}
	configured, err := r.codec(ctx, codec)
	if err != nil {
		return side, fmt.Errorf("codec %s: %w", codec, err)
	}
	side.Codec = configured
	if n := r.host.payloadBytes; n > 0 && s.log.IsTrace() {
		side.Codec = tapped{Codec: configured, log: s.log.With("from", name, "codec", codec), bytes: n}
	}
	return side, nil
}

// codec returns a codec of the route's, which was configured when the route started.
func (r *route) codec(ctx context.Context, name string) (codeccall.Codec, error) {
	return r.codecs.Codec(ctx, name, r.config.MaxFrame(r.codecs.find(name)))
}

// run relays until the session is over, and logs how it ended.
func (s *session) run(ctx context.Context) relay.Result {
	s.log.Debug("session begins", "upstream", s.upstream, "downstream_codec", s.codecs[0], "upstream_codec", s.codecs[1])
	result := s.Run(ctx)
	if result.Reason == relay.CodecFailed && ctx.Err() != nil { // the codec's process was ended with the session
		result.Reason, result.Err = reasonFor(ctx, nil), nil
	}
	fields := []any{
		"upstream", s.upstream, "reason", string(result.Reason), "age", result.Stats.Age.Round(time.Millisecond),
		"frames_to_upstream", result.Stats.ToUpstream.FramesOut, "frames_to_downstream", result.Stats.ToDownstream.FramesOut,
	}
	if result.Direction != relay.Neither {
		fields = append(fields, "direction", result.Direction.String())
	}
	var violation *relay.Violation
	switch {
	case errors.As(result.Err, &violation):
		fields = append(fields, s.about(violation)...)
	case result.Err != nil:
		fields = append(fields, "error", result.Err)
	}
	switch result.Reason {
	case relay.Fin, relay.Drained, relay.RouteRemoved, relay.IdleTimeout:
		s.log.Info("session ended", fields...)
	case relay.CodecFailed, relay.MemoryShort, relay.IOError:
		s.log.Error("session ended", fields...)
	default:
		s.log.Warn("session ended", fields...)
	}
	return result
}

// violated reports a violation that the session goes on after; one that ends it is told with its end. A peer can make
// as many as it can send frames, so not all are logged; all are counted.
func (s *session) violated(v *relay.Violation) {
	if !v.Skipped {
		return
	}
	leftOut, ok := s.skipped.now()
	if !ok {
		return
	}
	fields := append([]any{"direction", v.Direction.String()}, s.about(v)...)
	if leftOut > 0 {
		fields = append(fields, "more_since_the_last_line", leftOut)
	}
	s.log.Warn("violation skipped", fields...)
}

// about tells of a violation whose it is, where it is in what that peer sent, and what is there.
func (s *session) about(v *relay.Violation) []any {
	peer := s.downstream
	if v.Direction == relay.ToDownstream {
		peer = s.upstream
	}
	return []any{
		"peer", peer, "error", v.Err, "offset", v.Offset, "at", v.At, "frame", v.Frame,
		"got", hex.EncodeToString(v.Bytes), "want", v.Want,
	}
}

// quarantine returns where the bytes of a violation are kept, nil if they are not.
func (r *route) quarantine(s *session, v *relay.Violation) io.WriteCloser {
	q := r.host.quarantine.Load()
	if q == nil {
		return nil
	}
	return q.file(r.config.Name, s.id, v.Direction.String(), v.Offset)
}

func (s *session) status() SessionStatus {
	stats := s.Stats()
	return SessionStatus{
		ID: s.id, Downstream: s.downstream, Upstream: s.upstream, DownstreamCodec: s.codecs[0], UpstreamCodec: s.codecs[1],
		Age: stats.Age, ToUpstream: stats.ToUpstream, ToDownstream: stats.ToDownstream,
	}
}

// addressOf names a peer. A Unix peer that dialled has no name of its own.
func addressOf(c *endpoint.Conn) string {
	address := c.RemoteAddr()
	if address.Network() == "unix" {
		if name := address.String(); name != "" && name != "@" {
			return "unix://" + name
		}
		return "unix"
	}
	return address.String()
}

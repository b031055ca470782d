package host

import (
	"context"
	"sync"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A streamSide is an endpoint of a hub that makes a member of each connection: of all that are accepted, or of one that
// is dialled, again when it ends.
type streamSide struct {
	hub      *hub
	config   *config.Endpoint
	chooser  *chooser
	listener *endpoint.Listener // nil where it dials

	mu     sync.Mutex
	outbox *relay.Outbox // of what is dialed, unless it only sends; nil before the route starts
}

func newStreamSide(h *hub, e *config.Endpoint) *streamSide {
	return &streamSide{hub: h, config: e, chooser: newChooser(e, h.route.config.Timeouts.Select)}
}

func (s *streamSide) open(ctx context.Context) error {
	if s.config.Listen == nil {
		return nil
	}
	l, err := s.hub.route.listenOn(ctx, s.config)
	s.listener = l
	return err
}

// prepare lets what comes for an endpoint that is dialed wait for its connection.
func (s *streamSide) prepare() error {
	r := s.hub.route
	if s.listener != nil || s.config.Direction == config.Receive {
		return nil
	}
	codec, err := r.tappedCodec(r.ctx, r.log.With("endpoint", s.describe()), s.config.Codec)
	if err != nil {
		return err
	}
	outbox, err := s.hub.Outbox(relay.OutboxConfig{Codec: codec, Queue: queueOf(s.config), Echo: s.config.Echo})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = outbox
	return err
}

func (s *streamSide) waiting() *relay.Outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outbox
}

func (s *streamSide) away() *MemberStatus {
	outbox := s.waiting()
	if outbox == nil || outbox.Connected() {
		return nil
	}
	stats := outbox.Stats()
	return &MemberStatus{
		Endpoint: s.describe(), Codec: s.config.Codec, MemberCounts: stats.MemberCounts,
		QueuedFrames: stats.QueuedFrames, QueuedBytes: stats.QueuedBytes,
	}
}

func (s *streamSide) start() {
	r := s.hub.route
	if s.listener == nil {
		r.work.Go(s.redial)
		return
	}
	r.work.Go(func() {
		r.acceptFrom(s.listener, func(conn *endpoint.Conn) {
			codec, err := s.chooser.choose(r.pairing, conn)
			if err != nil {
				_ = conn.Reset()
				r.never(r.log.With("peer", addressOf(conn)), reasonFor(r.pairing, err), err)
				return
			}
			s.serve(conn, codec)
		})
	})
}

// redial keeps one connection, and makes it again when it ends.
func (s *streamSide) redial() {
	r := s.hub.route
	redialer := r.redialer(s.config)
	dropped := int64(0)
	// A drain goes on to dial as long as the hub does: something may wait for the connection.
	dials, cancel := context.WithCancelCause(r.pairing)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.hub.Ended():
			cancel(relay.Drained)
		case <-stop:
		}
	}()
	for {
		conn, err := redialer.Next(dials)
		if err != nil {
			return
		}
		if outbox := s.waiting(); outbox != nil {
			dropped = s.logWaiting(outbox.Stats(), dropped)
		}
		s.serve(conn, s.config.Codec)
		if outbox := s.waiting(); outbox != nil {
			dropped = outbox.Stats().DroppedFrames
		}
	}
}

// logWaiting logs what waited for a connection, and what was dropped meanwhile: more than dropped. It returns what was in
// all.
func (s *streamSide) logWaiting(stats relay.MemberStats, dropped int64) int64 {
	log, fields := s.hub.route.log.Info, []any{"endpoint", s.describe(), "frames", stats.QueuedFrames, "bytes", stats.QueuedBytes}
	if stats.DroppedFrames > dropped {
		log, fields = s.hub.route.log.Warn, append(fields, "frames_dropped", stats.DroppedFrames-dropped)
	}
	if stats.QueuedFrames > 0 || stats.DroppedFrames > dropped {
		log("connected, and what waited for that is sent", fields...)
	}
	return stats.DroppedFrames
}

// serve makes a member of conn, which it takes over, and returns when it is over.
func (s *streamSide) serve(conn *endpoint.Conn, codec string) {
	r := s.hub.route
	m := &member{id: r.host.sessions.Add(1), endpoint: s.describe(), peer: addressOf(conn), codec: codec}
	m.log = r.log.With("member", m.id, "peer", m.peer)
	l := newLink(conn)
	joined, err := s.join(m, l, ipOf(conn))
	if err != nil {
		_ = conn.Reset()
		r.never(m.log, relay.CodecFailed, err)
		return
	}
	m.Member = joined
	s.hub.run(m)
	l.wait()
}

func (s *streamSide) join(m *member, l *link, ip string) (*relay.Member, error) {
	r := s.hub.route
	codec, err := r.tappedCodec(r.ctx, m.log, m.codec)
	if err != nil {
		return nil, err
	}
	c := relay.StreamMember{
		MemberConfig: s.hub.memberConfig(m, s.config, codec), Link: l, Shutdown: s.config.Shutdown,
		Timeouts: r.timeouts(), Classify: reasonOf, Outbox: s.waiting(),
	}
	if s.listener != nil {
		c.InputEnded = func() { l.GiveWay(func() { m.GiveWay() }) }
	}
	c.Peer = ip
	m.reports = r.memberReporter(m.log, m.id, m.peer, m.codec, false)
	c.Violation = m.reports.violation
	return s.hub.Stream(c)
}

func (s *streamSide) halt() {
	if s.listener != nil {
		_ = s.listener.Close()
	}
}

func (s *streamSide) close() {
	outbox := s.waiting()
	if outbox == nil {
		return
	}
	before := outbox.Stats().FramesNotDelivered
	outbox.Close()
	stats := outbox.Stats()
	if stats.FramesNotDelivered == before {
		return
	}
	r := s.hub.route
	r.log.Warn("what waited for a connection is not delivered", "endpoint", s.describe(), "reason", string(relay.DrainTimeout),
		"frames_not_delivered", stats.FramesNotDelivered, "bytes_not_delivered", stats.BytesNotDelivered)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[string(relay.DrainTimeout)]++
}

func (s *streamSide) listening() (*config.Endpoint, endpoint.Address) {
	if s.listener == nil {
		return nil, endpoint.Address{}
	}
	return s.config, s.listener.Addr()
}

func (s *streamSide) kernel() *DatagramStatus { return nil }

func (s *streamSide) describe() string {
	if s.listener != nil {
		return "listen " + s.listener.Addr().String()
	}
	return describe(s.config)
}

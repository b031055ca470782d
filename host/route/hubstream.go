package route

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A streamSide is an endpoint of a hub that makes a member of each connection: of every accepted one, or of one dialed
// connection at a time, which is dialed again when it ends.
type streamSide struct {
	owner    atomic.Pointer[hub] // the hub that has the side now
	config   *config.Endpoint
	chooser  *chooser
	listener *endpoint.Listener // nil if the side dials
	from     *streamSide        // the side whose socket s takes over; nil: none
	begun    atomic.Bool
	turn     chan struct{} // holds a token while a side is connected to the dialed address, or is connecting
	hasTurn  bool          // the token is that of s

	mu     sync.Mutex
	outbox *relay.Outbox   // frames for the dialed peer; nil before the route starts, and with the direction receive
	holds  []chan struct{} // one for each passTo; closed when the goroutine of the new owner's route runs
}

// newStreamSide returns the side for e. n is how many earlier sides of the hub have the same address.
func newStreamSide(h *hub, e *config.Endpoint, n int) *streamSide {
	s := &streamSide{turn: h.route.turnOf(fmt.Sprint(e.Address(), n)), config: e, chooser: newChooser(e, h.route.config.Timeouts.Select)}
	s.owner.Store(h)
	return s
}

func (s *streamSide) hub() *hub { return s.owner.Load() }

func (s *streamSide) started() bool { return s.begun.Load() }

// same reports whether s dials what the other side will dial, with the same queue, codec and other settings.
func (s *streamSide) same(o side) bool {
	other, ok := o.(*streamSide)
	return ok && s.config.Dial != nil && config.SameEndpoint(s.config, other.config) &&
		sameCodec(s.hub().route, other.hub().route, s.config.Codec)
}

// sameCodec reports whether two routes have the same codec under name.
func sameCodec(a, b *Route, name string) bool {
	if name == config.NoCodec {
		return true
	}
	one, errOne := a.codec(a.ctx, name)
	other, errOther := b.codec(b.ctx, name)
	return errOne == nil && errOther == nil && one == other
}

// takesFrom reports whether old listens where s will listen. If so, takeSocket will take over the socket of old.
func (s *streamSide) takesFrom(old side) bool {
	o, ok := old.(*streamSide)
	if ok && o.listener != nil && s.config.Listen != nil && s.config.Listen.String() == o.config.Listen.String() {
		s.from = o
	}
	return s.from != nil
}

// passTo makes s a side of h. The connection of s and the frames that wait for it go on: as work of the old route until the
// connection ends, and then as work of the route of h, which can't end before.
func (s *streamSide) passTo(h *hub, _ side) side {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner.Store(h)
	if s.started() { // otherwise h starts s
		hold := make(chan struct{})
		s.holds = append(s.holds, hold)
		h.route.work.Go(func() { <-hold })
	}
	return s
}

// handOver continues redial as work of the route that now owns s.
func (s *streamSide) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.hub().route
	r.work.Go(func() { s.redial(r) })
	for _, hold := range s.holds {
		close(hold)
	}
	s.holds = nil
}

// takeSocket takes over the socket of the side that takesFrom found, if it found one.
func (s *streamSide) takeSocket() (err error) {
	if s.from != nil {
		s.listener, err = s.from.listener.Transfer(s.hub().route.listenOptions(s.config))
		s.from = nil
	}
	return err
}

func (s *streamSide) open(ctx context.Context) error {
	if s.config.Listen == nil {
		return nil
	}
	l, err := s.hub().route.listenOn(ctx, s.config)
	s.listener = l
	return err
}

// prepare opens the queue of a dialed endpoint, where frames wait for its connection.
func (s *streamSide) prepare() error {
	if s.config.Listen != nil {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
		s.hasTurn = true
		return s.openOutbox()
	default: // the connection of an earlier configuration is still open, and gets the frames
		return nil
	}
}

// openOutbox makes the queue of a dialed endpoint, unless the endpoint has the direction receive.
func (s *streamSide) openOutbox() error {
	r := s.hub().route
	if s.config.Direction == config.Receive {
		return nil
	}
	codec, err := r.tappedCodec(r.ctx, r.log.With("endpoint", s.describe()), s.config.Codec)
	if err != nil {
		return err
	}
	outbox, err := s.hub().Outbox(relay.OutboxConfig{Codec: codec, Queue: queueOf(s.config), Echo: s.config.Echo})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = outbox
	return err
}

// waiting returns the outbox of s; nil if there is none.
func (s *streamSide) waiting() *relay.Outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outbox
}

func (s *streamSide) away() *control.MemberStatus {
	outbox := s.waiting()
	if outbox == nil || outbox.Connected() {
		return nil
	}
	stats := outbox.Stats()
	return &control.MemberStatus{
		Endpoint: s.describe(), Codec: s.config.Codec, MemberCounts: stats.MemberCounts,
		QueuedFrames: stats.QueuedFrames, QueuedBytes: stats.QueuedBytes,
	}
}

func (s *streamSide) start() {
	s.begun.Store(true)
	r := s.hub().route
	if s.listener == nil {
		r.work.Go(func() { s.redial(r) })
		return
	}
	r.work.Go(func() {
		r.acceptFrom(s.listener, func(conn *endpoint.Conn) {
			codec, err := s.chooser.choose(r.pairing, conn)
			if err != nil {
				_ = conn.Reset()
				r.recordNotStarted(r.log.With("peer", addressOf(conn)), reasonFor(r.pairing, err), err)
				return
			}
			s.serve(conn, codec)
		})
	})
}

// redial keeps one connection open, as work of r: it dials again when the connection ends. When s has passed to another
// route, redial hands over to that route and returns.
func (s *streamSide) redial(r *Route) {
	if !s.hasTurn {
		select {
		case s.turn <- struct{}{}:
			s.hasTurn = true
		case <-r.dials.Done():
			if s.hub().route != r {
				s.handOver()
			}
			return
		}
		if err := s.openOutbox(); err != nil {
			r.log.Error("frames for an endpoint are lost while it is not connected", "endpoint", s.describe(), "error", err)
		}
	}
	redialer := r.redialer(s.config)
	dropped := int64(0)
	// During a drain, redial goes on dialing until the hub has ended, because frames may wait for the connection.
	dials, cancel := context.WithCancelCause(r.pairing)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.hub().Ended():
			cancel(relay.Drained)
		case <-r.retired:
			cancel(relay.Drained)
		case <-stop:
		}
	}()
	for {
		conn, err := redialer.Next(dials)
		if err != nil && s.hub().route != r {
			s.handOver()
			return
		}
		if err != nil {
			s.close() // the waiting frames can't be sent any more
			<-s.turn
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

// logWaiting logs how many frames waited for the connection, and how many were dropped while it was missing. dropped is the
// total of dropped frames before that; logWaiting returns the new total.
func (s *streamSide) logWaiting(stats relay.MemberStats, dropped int64) int64 {
	log, fields := s.hub().route.log.Info, []any{"endpoint", s.describe(), "frames", stats.QueuedFrames, "bytes", stats.QueuedBytes}
	if stats.DroppedFrames > dropped {
		log, fields = s.hub().route.log.Warn, append(fields, "frames_dropped", stats.DroppedFrames-dropped)
	}
	if stats.QueuedFrames > 0 || stats.DroppedFrames > dropped {
		log("connected; the waiting frames are sent", fields...)
	}
	return stats.DroppedFrames
}

// serve makes conn a member, and returns when the member is over. It owns conn.
func (s *streamSide) serve(conn *endpoint.Conn, codec string) {
	r := s.hub().route
	m := s.hub().newMember(s.describe(), codec)
	defer m.release()
	m.side, m.peer = s, addressOf(conn)
	m.log = r.log.With("member", m.id, "peer", m.peer)
	l := newLink(conn)
	joined, err := s.join(m, l, ipOf(conn))
	if err != nil {
		_ = conn.Reset()
		r.recordNotStarted(m.log, relay.CodecFailed, err)
		return
	}
	m.Member = joined
	s.hub().run(m)
	l.wait()
}

func (s *streamSide) join(m *member, l *link, ip string) (*relay.Member, error) {
	r := s.hub().route
	codec, err := r.tappedCodec(r.ctx, m.log, m.codec)
	if err != nil {
		return nil, err
	}
	c := relay.StreamMember{
		MemberConfig: s.hub().memberConfig(m, s.config, codec), Link: l, Shutdown: s.config.Shutdown,
		Timeouts: r.timeouts(), Classify: reasonOf, Outbox: s.waiting(),
	}
	if s.listener != nil {
		c.InputEnded = func() { l.GiveWay(func() { m.GiveWay() }) }
	}
	c.Peer = ip
	m.reports = r.memberReporter(m.log, m.id, m.peer, m.codec, false)
	c.Violation = m.reports.violation
	return s.hub().Stream(c)
}

func (s *streamSide) halt() {
	if s.listener != nil {
		_ = s.listener.Close()
	}
}

func (s *streamSide) retire() {}

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
	r := s.hub().route
	r.log.Warn("frames that waited for a connection are not delivered", "endpoint", s.describe(), "reason", string(relay.DrainTimeout),
		"frames_not_delivered", stats.FramesNotDelivered, "bytes_not_delivered", stats.BytesNotDelivered)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[string(relay.DrainTimeout)]++
}

func (s *streamSide) listening() (*config.Endpoint, endpoint.Address) {
	if s.from != nil {
		return s.config, s.from.listener.Addr()
	}
	if s.listener == nil {
		return nil, endpoint.Address{}
	}
	return s.config, s.listener.Addr()
}

func (s *streamSide) kernel() *control.DatagramStatus { return nil }

func (s *streamSide) describe() string {
	if s.listener != nil {
		return "listen " + s.listener.Addr().String()
	}
	return describe(s.config)
}

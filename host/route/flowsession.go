package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
	"github.com/framehost/framehost/host/relay"
)

// A flowSession is the session of one peer that sends datagrams: a hub with two members, so that both sides keep the
// boundaries of frames and datagrams. The queue of each member makes its sender wait rather than drop frames.
//
// A flowSession ends when nothing has passed for udp.flows.idle, or when the upstream ends or fails. The next datagram begins
// a new session.
type flowSession struct {
	route                *Route
	id                   uint64
	downstream, upstream string // addresses
	peer                 string // IP address of downstream
	codecs               [2]string
	hub                  *relay.Hub
	members              [2]*relay.Member
	reports              [2]*reporter  // of the members
	joined               chan struct{} // closed when the first member has joined
	link                 *link         // to the upstream; nil if the upstream is datagrams
	log                  hclog.Logger
	began                time.Time
	cut                  context.Context
	cutOff               context.CancelCauseFunc
}

func newFlowSession(r *Route, flow *datagram.Flow) *flowSession {
	s := &flowSession{
		route: r, id: r.shared.sessions.Add(1), downstream: flow.Peer().String(), began: time.Now(),
		codecs: [2]string{r.config.From.Codec, r.config.To.Codec}, hub: relay.NewHub(r.memory),
		joined: make(chan struct{}),
	}
	s.peer = flow.Peer().Addr().Unmap().String()
	s.log = r.log.With("session", s.id, "downstream", s.downstream)
	s.cut, s.cutOff = context.WithCancelCause(r.ctx)
	return s
}

// pair makes the two members and dials the upstream. On error, the caller still owns flow.
func (s *flowSession) pair(ctx context.Context, flow *datagram.Flow) error {
	end := &flowDatagrams{
		flow: flow, ready: make(chan struct{}), closed: make(chan struct{}),
		idle: func() { s.hub.End(relay.IdleTimeout) },
	}
	c, err := s.config(&s.route.config.From)
	if err != nil {
		return err
	}
	s.reports[0] = s.route.memberReporter(s.log, s.id, s.downstream, s.codecs[0], true)
	c.Violation = s.reports[0].violation
	c.Joined = func() { close(s.joined) }
	if s.members[0], err = s.hub.Datagrams(relay.DatagramMember{MemberConfig: c, Datagrams: end, Answers: true}); err != nil {
		return err
	}
	if c, err = s.config(&s.route.config.To); err != nil {
		return err
	}
	c.Joined = func() { close(end.ready) }
	if s.route.config.To.Datagrams() {
		return s.dialDatagrams(ctx, c)
	}
	return s.dialStream(ctx, c)
}

// config returns the configuration of the member for e. Its queue has the policy Block: as in any session, the sender waits
// for the receiver.
func (s *flowSession) config(e *config.Endpoint) (relay.MemberConfig, error) {
	var codec codeccall.Codec
	if e.Codec != config.NoCodec {
		var err error
		if codec, err = s.route.tappedCodec(s.route.ctx, s.log, e.Codec); err != nil {
			return relay.MemberConfig{}, err
		}
	}
	return relay.MemberConfig{
		Peer:  s.peer,
		Codec: codec, Use: relay.Use(e.Direction), Queue: relay.Queue{Policy: relay.Block},
		OnViolation: relay.OnViolation(s.route.config.OnViolation), Quarantine: s.route.quarantines(s.id),
		WireBytes: s.route.shared.WireBytes,
	}, nil
}

func (s *flowSession) dialDatagrams(ctx context.Context, c relay.MemberConfig) error {
	conn, err := s.route.dialDatagrams(ctx, &s.route.config.To)
	if err != nil {
		return err
	}
	sockets := newSockets(s.route, flowBatch)
	sockets.in, sockets.out = conn, conn
	s.upstream = s.route.config.To.Dial.HostPort()
	s.reports[1] = s.route.memberReporter(s.log, s.id, s.upstream, s.codecs[1], true)
	c.Violation = s.reports[1].violation
	s.members[1], err = s.hub.Datagrams(relay.DatagramMember{MemberConfig: c, Datagrams: sockets, Answers: true})
	if err != nil {
		_ = sockets.Close()
	}
	return err
}

func (s *flowSession) dialStream(ctx context.Context, c relay.MemberConfig) error {
	e := &s.route.config.To
	conn, err := s.route.dial(ctx, e)
	if err != nil {
		return err
	}
	s.upstream, s.link = addressOf(conn), newLink(conn)
	s.reports[1] = s.route.memberReporter(s.log, s.id, s.upstream, s.codecs[1], false)
	c.Violation = s.reports[1].violation
	s.members[1], err = s.hub.Stream(relay.StreamMember{
		MemberConfig: c, Link: s.link, Shutdown: e.Shutdown, Timeouts: s.route.timeouts(), Classify: reasonOf,
		InputEnded: func() { s.hub.End(relay.Fin) }, // the upstream sends no more answers
	})
	if err != nil {
		_ = conn.Reset()
	}
	return err
}

// Drain ends the session when it is at rest: when nothing has come from either side for a second and everything is written.
func (s *flowSession) Drain() { s.hub.Drain(relay.Drained) }

// Cut ends the session at once, with relay.DrainTimeout.
func (s *flowSession) Cut() { s.cutOff(relay.DrainTimeout) }

func (s *flowSession) abort() { s.Cut() }

// run relays until the session is over, and logs how it ended. The end of one member ends the other.
func (s *flowSession) run() relay.Result {
	ctx := s.cut
	defer s.cutOff(nil)
	s.log.Debug("session begins", "upstream", s.upstream, "downstream_codec", s.codecs[0], "upstream_codec", s.codecs[1])
	var both sync.WaitGroup
	var first sync.Once
	result := relay.Result{}
	ended := make(chan struct{})
	reports := s.reports[0] // of the member that ended first
	run := func(i int) {
		one := s.members[i].Run(ctx)
		first.Do(func() {
			reports = s.reports[i]
			result.Reason, result.Err, result.Direction = one.Reason, one.Err, one.Direction
			close(ended)
		})
		s.hub.End(one.Reason)
	}
	both.Go(func() { run(0) })
	select { // the upstream may send first, so the downstream must have joined
	case <-s.joined:
	case <-ended:
	}
	both.Go(func() { run(1) })
	both.Wait()
	if s.link != nil {
		s.link.wait()
	}
	if result.Reason == relay.CodecFailed && ctx.Err() != nil {
		result.Reason, result.Err = reasonFor(ctx, nil), nil
	}
	result.Stats = s.stats()
	for _, r := range s.reports {
		r.lines.Flush()
	}
	reports.sessionEnded(s.upstream, &result)
	return result
}

// stats returns the counts of the two members as those of a session: each direction goes from one member to the other.
func (s *flowSession) stats() relay.Stats {
	downstream, upstream := s.members[0].Stats().FlowStats, s.members[1].Stats().FlowStats
	return relay.Stats{
		Age: time.Since(s.began), ToUpstream: between(&downstream, &upstream), ToDownstream: between(&upstream, &downstream),
	}
}

// between returns the counts of one direction: read from from, written to to.
func between(from, to *relay.FlowStats) relay.FlowStats {
	joined := *from
	joined.BytesWritten, joined.FramesOut = to.BytesWritten, to.FramesOut
	joined.FramesNotDelivered += to.FramesNotDelivered
	joined.BytesNotDelivered += to.BytesNotDelivered
	return joined
}

func (s *flowSession) status() control.SessionStatus {
	stats := s.stats()
	return control.SessionStatus{
		ID: s.id, Downstream: s.downstream, Upstream: s.upstream,
		DownstreamCodec: s.codecs[0], UpstreamCodec: s.codecs[1],
		Age: stats.Age, ToUpstream: stats.ToUpstream, ToDownstream: stats.ToDownstream,
	}
}

// A flowDatagrams makes a flow, which has the datagrams of one peer, a relay.Datagrams.
type flowDatagrams struct {
	flow   *datagram.Flow
	ready  chan struct{} // closed when the other member has joined and gets what is received
	idle   func()        // called when the flow ends because nothing passed for udp.flows.idle
	closed chan struct{}
	close  sync.Once
}

// Receive implements relay.Datagrams.
func (f *flowDatagrams) Receive(into []relay.Datagram) (int, error) {
	select {
	case <-f.ready:
	case <-f.closed:
		return 0, net.ErrClosed
	}
	payload, err := f.flow.Next()
	if err != nil {
		if !errors.Is(err, net.ErrClosed) { // idle; the session ends the member after the frames on their way are sent
			f.idle()
			<-f.closed
		}
		return 0, net.ErrClosed
	}
	into[0] = relay.Datagram{Bytes: payload, Source: f.flow.Peer()}
	return 1, nil
}

// Send implements relay.Datagrams.
func (f *flowDatagrams) Send(frames [][]byte) (int, error) {
	for i, frame := range frames {
		if _, err := f.flow.Write(frame); errors.Is(err, net.ErrClosed) {
			return i, err
		} else if err != nil {
			return i, fmt.Errorf("%w: %w", relay.ErrNotSent, err)
		}
	}
	return len(frames), nil
}

// Close implements relay.Datagrams.
func (f *flowDatagrams) Close() error {
	f.close.Do(func() { close(f.closed) })
	return f.flow.Close()
}

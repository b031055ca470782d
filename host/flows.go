package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A udpListener is what a route has that listens for datagrams and answers them: a session for each peer address. A reload that
// keeps the socket passes them on, with their sessions.
type udpListener struct {
	conn     *endpoint.DatagramConn
	table    *endpoint.Flows
	sessions sync.WaitGroup
	ended    chan struct{} // closed when the socket is

	mu    sync.Mutex
	route *route        // whose configuration new flows get
	left  chan struct{} // closed when another route has them
	begun bool
}

func newFlows(r *route) *udpListener {
	return &udpListener{route: r, ended: make(chan struct{}), left: make(chan struct{})}
}

// owner returns the route that has f now.
func (f *udpListener) owner() *route {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.route
}

// hold keeps the route that has f from ending before f does, or has another route. The caller holds f.mu.
func (f *udpListener) hold() {
	left := f.left
	f.route.work.Go(func() {
		select {
		case <-left:
		case <-f.ended:
		}
	})
}

// passTo gives f to another route.
func (f *udpListener) passTo(r *route) *udpListener {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.left)
	f.route, f.left = r, make(chan struct{})
	f.table.SetLimits(r.config.From.UDP.Flows.Max, r.config.From.UDP.Flows.Idle)
	f.hold()
	return f
}

func (f *udpListener) listen(ctx context.Context) error {
	r := f.owner()
	e := &r.config.From
	// Somebody else on the port would get some of what is sent to it.
	conn, err := r.listenDatagrams(ctx, e, e.Listen.HostPort(), true)
	if err != nil {
		return err
	}
	f.conn = conn
	f.table = endpoint.NewFlows(conn.WriteBatch, endpoint.FlowOptions{
		Max: e.UDP.Flows.Max, Idle: e.UDP.Flows.Idle,
		Refused: func(peer netip.AddrPort) {
			r := f.owner()
			r.refusals.log(r.log.Warn, "datagram refused", "source", peer, "reason", string(relay.Refused),
				"why", fmt.Sprintf("%d flows, which is udp.flows.max", r.config.From.UDP.Flows.Max))
		},
	})
	return nil
}

// start begins to relay, unless f has begun for another route.
func (f *udpListener) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun {
		return
	}
	f.begun = true
	f.hold()
	received := make(chan struct{})
	go func() {
		defer close(received)
		f.receive()
	}()
	go f.accept(received)
}

// receive hands out datagrams until the socket is closed.
func (f *udpListener) receive() {
	arrived, release := f.owner().datagramBuffers(socketBatch)
	defer release()
	for {
		n, err := f.conn.ReadBatch(arrived)
		r := f.owner()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.failures.log(r.log.Warn, "datagrams could not be received", "error", err)
			if !pause(r.ctx, readAgainAfter) {
				return
			}
			continue
		}
		admission := endpoint.Admission{Allow: r.config.From.Allow, Deny: r.config.From.Deny}
		for i := range arrived[:n] {
			if d := &arrived[i]; !isEcho(d) && r.admits(&admission, d) {
				f.table.Deliver(arrived[i : i+1])
			}
		}
	}
}

// accept makes a session of each flow, until the table is closed. The socket is closed behind the last session, for
// answers leave by it.
func (f *udpListener) accept(received <-chan struct{}) {
	defer close(f.ended)
	defer func() { <-received }()
	defer f.close()
	defer f.sessions.Wait()
	for {
		flow, err := f.table.Accept()
		if err != nil {
			return
		}
		f.mu.Lock() // so that the route has f meanwhile, and does not end
		r := f.route
		f.sessions.Add(1)
		r.work.Go(func() {
			defer f.sessions.Done()
			f.serve(r, flow)
		})
		f.mu.Unlock()
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
	}
}

// serve dials the upstream of a flow, which it takes over, and relays.
func (f *udpListener) serve(r *route, flow *endpoint.Flow) {
	s := newFlowSession(r, flow)
	if err := s.pair(r.pairing, flow); err != nil {
		_ = flow.Close()
		reason := relay.ConnectFailed
		if r.pairing.Err() != nil {
			reason = reasonFor(r.pairing, err)
		}
		r.recordNotStarted(s.log, reason, err)
		return
	}
	r.join(s.id, s)
	r.leave(s.id, s.run())
}

// retire lets no flow begin any more, if r has f.
func (f *udpListener) retire(r *route) {
	if f.table != nil && f.owner() == r {
		f.table.Close()
	}
}

// abandon closes what was never started, if r has f.
func (f *udpListener) abandon(r *route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.route == r && !f.begun {
		f.close()
	}
}

func (f *udpListener) close() {
	if f.conn != nil {
		_ = f.conn.Close()
	}
}

func (f *udpListener) addr() endpoint.Address {
	return endpoint.Address{Network: "udp", Address: f.conn.Addr().String()}
}

func (f *udpListener) status() *FlowsStatus {
	stats := f.table.Stats()
	status := &FlowsStatus{Live: stats.Live, Refused: stats.Refused, Dropped: stats.Dropped}
	status.Datagrams.Endpoint = "listen " + f.addr().String()
	status.Datagrams.add(f.conn)
	return status
}

// A flowDatagrams is a flow as the relay wants it: datagrams of one peer.
type flowDatagrams struct {
	flow   *endpoint.Flow
	ready  chan struct{} // is closed when the other side gets what is received
	idle   func()        // is called when the flow ends for want of datagrams
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
		if !errors.Is(err, net.ErrClosed) { // the end comes from the session, behind what is on its way
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

// answers reports whether the route keeps a session for each address that sends datagrams.
func answers(r *config.Route) bool { return !r.IsHub() && r.From.Datagrams() }

package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A udpListener is the socket of a route that answers datagrams, with one session for each peer address. A reload that keeps
// the socket passes the udpListener and its sessions to the new route.
type flowListener struct {
	conn     *datagram.Conn
	table    *datagram.Flows
	sessions sync.WaitGroup
	ended    chan struct{} // closed when the socket is closed and no goroutine runs any more

	mu    sync.Mutex
	route *Route        // the owner; new flows get its configuration
	left  chan struct{} // closed when the owner passes the listener to another route
	begun bool
}

func newFlowListener(r *Route) *flowListener {
	return &flowListener{route: r, ended: make(chan struct{}), left: make(chan struct{})}
}

// owner returns the route that now owns f.
func (f *flowListener) owner() *Route {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.route
}

// hold keeps the owner of f from ending until f ends or passes to another route. The caller holds f.mu.
func (f *flowListener) hold() {
	left := f.left
	f.route.work.Go(func() {
		select {
		case <-left:
		case <-f.ended:
		}
	})
}

// passTo makes r the owner of f, and returns f.
func (f *flowListener) passTo(r *Route) *flowListener {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.left)
	f.route, f.left = r, make(chan struct{})
	f.table.SetLimits(r.config.From.UDP.Flows.Max, r.config.From.UDP.Flows.Idle)
	f.hold()
	return f
}

func (f *flowListener) listen(ctx context.Context) error {
	r := f.owner()
	e := &r.config.From
	// Exclusive: a second process on the port would receive some of the datagrams.
	conn, err := r.listenDatagrams(ctx, e, e.Listen.HostPort(), true)
	if err != nil {
		return err
	}
	f.conn = conn
	f.table = datagram.NewFlows(conn.WriteBatch, datagram.FlowOptions{
		Max: e.UDP.Flows.Max, Idle: e.UDP.Flows.Idle,
		Refused: func(peer netip.AddrPort) {
			r := f.owner()
			r.refusals.Log(r.log.Warn, "datagram refused", "source", peer, "reason", string(relay.Refused),
				"why", fmt.Sprintf("%d flows, which is udp.flows.max", r.config.From.UDP.Flows.Max))
		},
	})
	return nil
}

// start begins to relay, unless f began under an earlier owner.
func (f *flowListener) start() {
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

// receive delivers datagrams to the flow table until the socket is closed.
func (f *flowListener) receive() {
	arrived, release := f.owner().datagramBuffers(socketBatch)
	defer release()
	for {
		n, err := f.conn.ReadBatch(arrived)
		r := f.owner()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.failures.Log(r.log.Warn, "datagrams could not be received", "error", err)
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

// accept makes a session for each flow until the table is closed. It closes the socket after the last session has ended,
// because sessions send their answers through it.
func (f *flowListener) accept(received <-chan struct{}) {
	defer close(f.ended)
	defer func() { <-received }()
	defer f.close()
	defer f.sessions.Wait()
	for {
		flow, err := f.table.Accept()
		if err != nil {
			return
		}
		f.mu.Lock() // the route owns f while this is locked, so it can't end before work.Go
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

// serve dials the upstream for flow and relays. It owns flow.
func (f *flowListener) serve(r *Route, flow *datagram.Flow) {
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

// retire lets no new flow begin, if r owns f.
func (f *flowListener) retire(r *Route) {
	if f.table != nil && f.owner() == r {
		f.table.Close()
	}
}

// abandon closes the socket if r owns f and f was never started.
func (f *flowListener) abandon(r *Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.route == r && !f.begun {
		f.close()
	}
}

func (f *flowListener) close() {
	if f.conn != nil {
		_ = f.conn.Close()
	}
}

func (f *flowListener) addr() endpoint.Address {
	return endpoint.Address{Network: "udp", Address: f.conn.Addr().String()}
}

func (f *flowListener) status() *control.FlowsStatus {
	stats := f.table.Stats()
	status := &control.FlowsStatus{Live: stats.Live, Refused: stats.Refused, Dropped: stats.Dropped}
	status.Datagrams.Endpoint = "listen " + f.addr().String()
	addSocket(&status.Datagrams, f.conn)
	return status
}

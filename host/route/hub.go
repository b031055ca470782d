package route

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

// A hub is the part of a route that relays between many members: each connection of a side, and each datagram side, is a
// member.
//
// A reload that changes the route makes a new hub in the same room, so that old and new members get each other's frames. The
// new hub takes over unchanged sides as they are, and the sockets of listeners with the same address.
type hub struct {
	*room
	route   *Route
	sides   []side
	passed  map[side]side // until takeOver: by new side, the side of the old hub that goes on in its place
	claimed map[side]bool // sides of the old hub that a new side takes over, or whose socket it takes
}

// A room has the members of a hub. All hubs of one route name share it.
type room struct {
	*relay.Hub

	mu      sync.Mutex
	members map[uint64]*member
}

// A side is an endpoint of a hub, or two endpoints that are one member: see datagramSide.
type side interface {
	open(ctx context.Context) error
	prepare() error // prepares to get frames; called before any side starts
	start()
	started() bool
	halt()                                           // lets no member join any more
	retire()                                         // ends a datagram member; streams go on
	close()                                          // closes what open opened; start need not have been called
	listening() (*config.Endpoint, endpoint.Address) // nil if the side only dials
	kernel() *control.DatagramStatus                 // nil for streams
	away() *control.MemberStatus                     // the frames that wait for a connection; nil: no connection is missing
	same(s side) bool                                // reports whether this side can go on unchanged in place of s
	passTo(h *hub, s side) side                      // makes this side a side of h, in place of s
	describe() string
}

// newHub returns a hub for r, in the room of the ledger, which it makes if there is none yet.
func newHub(r *Route) *hub {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room == nil {
		r.room = &room{Hub: relay.NewHub(r.memory), members: map[uint64]*member{}}
		r.room.Patience = r.shared.ReceiverPatience
	}
	return &hub{room: r.room, route: r, passed: map[side]side{}, claimed: map[side]bool{}}
}

// takeOver takes over from the old hub the sides and sockets that takes found to be the same. It must be called before the
// old hub retires.
func (h *hub) takeOver(before *hub) error {
	var errs []error
	for i, s := range h.sides {
		if old := h.passed[s]; old != nil {
			before.mu.Lock() // other goroutines may be reading before.sides
			before.sides = slices.DeleteFunc(slices.Clone(before.sides), func(o side) bool { return o == old })
			before.mu.Unlock()
			h.sides[i] = old.passTo(h, s)
		} else if streams, ok := s.(*streamSide); ok {
			errs = append(errs, streams.takeSocket())
		}
	}
	clear(h.passed)
	return errors.Join(errs...)
}

// current returns the present sides of the hub.
func (h *hub) current() []side {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sides
}

// listen opens the listeners and the datagram sockets of the hub, except those that takeOver will take over.
func (h *hub) listen(ctx context.Context) error {
	sides, err := h.plan()
	if err != nil {
		return err
	}
	for _, s := range sides {
		if !h.takes(s) {
			if err := s.open(ctx); err != nil {
				h.close()
				return err
			}
		}
		h.sides = append(h.sides, s)
	}
	return nil
}

// takes reports whether s need not be opened because it can take over a side, or the socket of a side, of the old hub. It
// claims that side of the old hub for s.
func (h *hub) takes(s side) bool {
	if h.route.takes == nil {
		return false
	}
	for _, old := range h.route.takes.hub.sides {
		if h.claimed[old] {
			continue
		}
		if old.same(s) {
			h.passed[s], h.claimed[old] = old, true
			if datagrams, ok := s.(*datagramSide); ok {
				datagrams.from = old
			}
			return true
		}
		if streams, ok := s.(*streamSide); ok && streams.takesFrom(old) {
			h.claimed[old] = true
			return true
		}
	}
	return false
}

// plan returns the sides of the hub, in the order of the route's endpoints.
func (h *hub) plan() ([]side, error) {
	var sides []side
	var places []*datagramSide
	dialed := map[string]int{} // how many sides have each address
	endpoints := h.route.config.Sides()
	for _, e := range endpoints {
		switch {
		case !e.Datagrams():
			sides = append(sides, newStreamSide(h, e, dialed[e.Address().String()]))
			dialed[e.Address().String()]++
		case e.Listen != nil:
			places = append(places, newDatagramSide(h, e, nil))
			sides = append(sides, places[len(places)-1])
		}
	}
	for _, e := range endpoints {
		if !e.Datagrams() || e.Listen != nil {
			continue
		}
		place, err := h.placeOf(e, places)
		if err != nil {
			return nil, err
		}
		if place == nil {
			sides = append(sides, newDatagramSide(h, nil, e))
			continue
		}
		place.dials = e
	}
	if len(sides) < 2 {
		return nil, config.Errors{h.route.config.At.Error("one port of one network, listened on and sent to",
			"another port, other interfaces, or another endpoint")}
	}
	return sides, nil
}

// places returns the addresses where the hub listens, in the order of the route's endpoints.
func (h *hub) places() []boundAddress {
	var all []boundAddress
	for _, s := range h.current() {
		if e, address := s.listening(); e != nil {
			all = append(all, boundAddress{e, address})
		}
	}
	return all
}

func (h *hub) start() {
	for _, s := range h.current() {
		if s.started() {
			continue
		}
		if err := s.prepare(); err != nil {
			h.route.log.Error("frames for an endpoint are lost while it is not connected", "endpoint", s.describe(), "error", err)
		}
	}
	for _, s := range h.current() {
		if !s.started() {
			s.start()
		}
	}
}

// halt lets no further member join.
func (h *hub) halt() {
	for _, s := range h.current() {
		s.halt()
	}
}

// retire lets no further member join, and ends the datagram members. Streams go on.
func (h *hub) retire() {
	for _, s := range h.current() {
		s.halt()
		s.retire()
	}
}

func (h *hub) close() {
	for _, s := range h.current() {
		s.halt()
		s.close()
	}
}

// A member is a connection or a datagram side that takes part in a hub.
type member struct {
	*relay.Member
	id       uint64
	route    *Route
	side     *streamSide // nil for datagrams
	endpoint string      // of the route
	peer     string      // "" for datagrams
	codec    string
	log      hclog.Logger
	reports  *reporter
	ctx      context.Context
	cutOff   context.CancelCauseFunc
}

// newMember returns a member for a connection or a datagram side. The caller must release it, after it has run or not.
func (h *hub) newMember(endpoint, codec string) *member {
	m := &member{id: h.route.shared.sessions.Add(1), route: h.route, endpoint: endpoint, codec: codec}
	m.ctx, m.cutOff = context.WithCancelCause(h.route.ctx)
	return m
}

// release releases the context of the member.
func (m *member) release() { m.cutOff(nil) }

// Drain ends the member when it is at rest.
func (m *member) Drain() { m.Member.Drain(relay.Drained) }

// Cut ends the member at once, with relay.DrainTimeout.
func (m *member) Cut() { m.cutOff(relay.DrainTimeout) }

func (m *member) abort() { m.Cut() }

// memberConfig returns the configuration of a member m of endpoint e.
func (h *hub) memberConfig(m *member, e *config.Endpoint, codec codeccall.Codec) relay.MemberConfig {
	r := h.route
	return relay.MemberConfig{
		Codec: codec, Use: relay.Use(e.Direction), Queue: queueOf(e), Echo: e.Echo,
		OnViolation: relay.OnViolation(r.config.OnViolation),
		Quarantine:  r.quarantines(m.id), WireBytes: r.shared.WireBytes,
	}
}

func queueOf(e *config.Endpoint) relay.Queue {
	return relay.Queue{Frames: e.Queue.Frames, Bytes: int(e.Queue.Bytes), Policy: relay.QueuePolicy(e.Queue.Policy)}
}

// run relays for m until it is over, and logs how it ended.
func (h *hub) run(m *member) relay.MemberResult {
	r := h.route
	h.mu.Lock()
	h.members[m.id] = m
	h.mu.Unlock()
	m.log.Debug("member joins", "endpoint", m.endpoint, "codec", m.codec)
	result := m.Run(m.ctx)
	h.mu.Lock()
	delete(h.members, m.id)
	h.mu.Unlock()
	if result.Reason == relay.CodecFailed && m.ctx.Err() != nil { // the codec's process was ended with the member
		result.Reason, result.Err = reasonFor(m.ctx, nil), nil
	}
	r.mu.Lock()
	r.closed[string(result.Reason)]++
	r.drained(&control.DrainedSession{
		ID: m.id, Endpoint: m.endpoint, Peer: m.peer, Age: result.Stats.Age, Reason: string(result.Reason),
		FramesNotDelivered: result.Stats.FramesNotDelivered, BytesNotDelivered: result.Stats.BytesNotDelivered,
	})
	r.mu.Unlock()
	lost := droppedFields(&result.Stats.FlowStats, "")
	fields := append([]any{"endpoint", m.endpoint, "reason", string(result.Reason), "age", result.Stats.Age.Round(time.Millisecond),
		"frames_in", result.Stats.FramesIn, "frames_out", result.Stats.FramesOut, "frames_dropped", result.Stats.DroppedFrames}, lost...)
	m.reports.ended("member left", result.Reason, result.Direction, result.Err, fields, len(lost) > 0 || result.Stats.DroppedFrames > 0)
	return result
}

func (h *hub) status(status *control.RouteStatus) {
	stats := h.Stats()
	status.Hub = &control.HubStatus{MemberCounts: stats.MemberCounts}
	for _, s := range h.current() {
		if kernel := s.kernel(); kernel != nil {
			status.Hub.Datagrams = append(status.Hub.Datagrams, *kernel)
		}
		if away := s.away(); away != nil {
			status.Hub.Away = append(status.Hub.Away, *away)
		}
	}
	h.mu.Lock()
	members := slices.Collect(maps.Values(h.members))
	h.mu.Unlock()
	slices.SortFunc(members, func(a, b *member) int { return cmp.Compare(a.id, b.id) })
	status.Hub.Live = []control.MemberStatus{}
	for _, m := range members {
		status.Hub.Live = append(status.Hub.Live, m.status())
	}
}

func (m *member) status() control.MemberStatus {
	stats := m.Stats()
	return control.MemberStatus{
		ID: m.id, Endpoint: m.endpoint, Peer: m.peer, Codec: m.codec, Age: stats.Age, MemberCounts: stats.MemberCounts,
		HalfClosed: stats.HalfClosed, QueuedFrames: stats.QueuedFrames, QueuedBytes: stats.QueuedBytes,
	}
}

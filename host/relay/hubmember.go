package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// MemberConfig is what members of both kinds have.
type MemberConfig struct {
	// Codec says what is inside. Members whose Codec is the same value share what is encoded. nil, for datagrams only:
	// a datagram is a payload.
	Codec codeccall.Codec
	Use   Use   // "": Both
	Queue Queue // for what is sent to the member
	Echo  bool  // the member is sent its own frames too

	OnViolation OnViolation // of what the member sends; "": CloseSession

	// Peer is the address, without a port, to which the memory of the member is attributed; "": not known.
	Peer string

	// Joined, unless nil, is called once: from then on the member gets what others send.
	Joined func()

	// Violation is called for each violation, also those that are skipped, from the goroutine that found it, which waits
	// for it; that may be the one that receives and the one that sends at the same time. A stream's that is not skipped
	// is also the Err of the Result. nil: violations are not reported.
	Violation func(Violation)
	// Quarantine and WireBytes are as in [Config].
	Quarantine func(Violation) io.WriteCloser
	WireBytes  int
}

// A Member is one participant of a hub. Its methods are safe for concurrent use.
type Member struct {
	hub       *Hub
	config    MemberConfig
	keeps     keeper
	transport transport
	limits    Timeouts
	*receiver
	counts  hubCounters
	account *memoryAccount
	// endless is true where no violation ends the member: there is no connection to close.
	endless bool
	ctx     context.Context
	cancel  context.CancelCauseFunc

	// The hub's mu guards these.
	passing bool // it passes on what it received
	deaf    bool // it has stopped receiving, because of a drain

	clock      clock
	life                   // of its link; datagrams have none, and note when they were read alone
	between    atomic.Bool // the reader waits, and no frame is unfinished
	drainSince mark        // Drain was called
	drainsFor  Reason      // set before drainSince

	outcome

	drainMu  sync.Mutex
	draining Reason
	linger   *time.Timer
}

// A transport moves a member's bytes. Nothing of it waits for long once cut was called.
type transport interface {
	// open prepares for receive and transmit.
	open()
	// receive passes on what arrives until the input ends or the member is over.
	receive()
	// transmit writes what is queued until the queue is sealed and empty or the member is over.
	transmit()
	// forAll reports whether any peer may send to it, and not just one.
	forAll() bool
	// unread reports whether something has arrived that the reader has not read.
	unread() bool
	// stalled reports whether the writer waits for the peer to take what was written to it.
	stalled() bool
	// cut wakes both, and resets a stream whose end was not written.
	cut()
	close()
}

// A MemberResult says how a member ended.
type MemberResult struct {
	Reason    Reason
	Err       error     // what happened; nil for Fin, Drained and timeouts
	Direction Direction // FromMember, ToMember, or Neither: in none in particular
	Stats     MemberStats
}

var (
	errState   = errors.New("relay: a codec whose frames depend on those before them; want one without state in a hub")
	errNoCodec = errors.New("relay: a stream without a codec; want one in a hub")
)

// newMember prepares a member. outbox is the receiver that it writes for; nil: one of its own.
func (h *Hub) newMember(config MemberConfig, outbox *receiver) (*Member, error) {
	if config.Codec != nil && config.Codec.Properties().UsesState {
		return nil, errState
	}
	m := &Member{
		hub: h, config: config, receiver: outbox,
		keeps: newKeeper(config.OnViolation, config.Violation, config.Quarantine, config.WireBytes),
	}
	if outbox == nil {
		m.receiver = &receiver{codec: config.Codec, echo: config.Echo, tally: &m.counts}
		m.queue.begin(config.Queue, &m.counts)
		m.member.Store(m)
	}
	m.clock.begin(m.look)
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	return m, nil
}

// Run joins the hub and takes part until the member is over; then it leaves, closes what it has and says why. It is
// called once. A ctx that ends ends the member at once; a [Reason] that is its cause becomes the member's reason,
// otherwise that is Drained.
func (m *Member) Run(ctx context.Context) MemberResult {
	stop := context.AfterFunc(ctx, func() {
		reason := Drained
		errors.As(context.Cause(ctx), &reason)
		if reason == DrainTimeout && m.lingers() {
			reason = m.finalReason() // the peer has seen a clean end
		}
		m.end(reason, nil, Neither)
	})
	defer stop()
	before := MemberCounts{}
	if m.lasts {
		before = m.tally.all()
		m.attach(m)
	}
	m.openAccount()
	defer m.account.close()
	if m.hub.join(m) {
		if m.config.Joined != nil {
			m.config.Joined()
		}
		m.relay()
		m.hub.leave(m)
	}
	m.end(m.finalReason(), nil, Neither)
	m.transport.close()
	m.stopLinger()
	r := MemberResult{Stats: m.Stats()}
	r.Reason, r.Direction, r.Err = m.decided()
	r.Stats.DroppedFrames -= before.DroppedFrames
	r.Stats.DroppedBytes -= before.DroppedBytes
	r.Stats.Empties -= before.Empties
	r.Stats.Unrepresentable -= before.Unrepresentable
	r.Stats.Starved -= before.Starved
	return r
}

// openAccount opens the memory account for the bytes that the member receives.
func (m *Member) openAccount() {
	a := m.hub.memory.open(m.config.Peer, directionMemory)
	if a != nil && !m.endless {
		a.progress = func() (time.Time, int64) {
			return m.clock.origin.Add(time.Duration(m.active())), m.counts.bytesRead.Load() + m.counts.bytesWritten.Load()
		}
		a.end = func(err error) { m.end(MemoryShort, err, FromMember) }
	}
	m.account = a
	if m.echoFilter != nil {
		m.echoFilter.account = a
	}
}

func (m *Member) relay() {
	defer m.clock.start()()
	m.transport.open()
	var writer sync.WaitGroup
	writer.Go(m.transport.transmit)
	m.transport.receive()
	writer.Wait()
	if m.echoFilter != nil {
		m.echoFilter.close()
	}
}

// End asks the member to end in good order, with reason, as [Hub.End] does with all.
func (m *Member) End(reason Reason) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.endNow(reason)
}

// endNow does what End does. The caller has the hub's lock.
func (m *Member) endNow(reason Reason) {
	m.drainFor(reason)
	if !m.passing && m.hub.ending == "" {
		m.finish()
	}
}

// GiveWay ends the member, with the reason Refused, to make room for another connection. It is for a member whose peer has
// ended its own direction and has been sent nothing since.
func (m *Member) GiveWay() {
	m.end(Refused, errors.New("relay: to member: half-closed and idle, closed to make room for another connection"), ToMember)
}

func (m *Member) drainFor(reason Reason) {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	if m.draining == "" {
		m.draining = reason
	}
}

func (m *Member) drained() bool {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	return m.draining != ""
}

// finalReason is the reason of a member that came to its own end.
func (m *Member) finalReason() Reason {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	if m.draining != "" {
		return m.draining
	}
	return Fin
}

// lingerOn gives the peer time to end too, once everything was written.
func (m *Member) lingerOn() {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	if !m.over() {
		m.linger = time.AfterFunc(lingerTime, func() { m.end(m.finalReason(), nil, Neither) })
	}
}

func (m *Member) stopLinger() {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	if m.linger != nil {
		m.linger.Stop()
	}
}

// lingers reports whether the member waits for its peer's end alone.
func (m *Member) lingers() bool {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	return m.linger != nil
}

// end sets the member's result, unless it is set, and cuts the member off. It wakes blocked calls, and does not wait itself.
func (m *Member) end(reason Reason, err error, direction Direction) {
	if !m.decide(reason, err, direction) {
		return
	}
	m.announce()
	m.cancel(reason)
	if reason == DrainTimeout && !m.lasts {
		m.queue.cut()
	}
	m.detach(m, reason)
	m.transport.cut()
}

// look is the clock's look at a member.
func (m *Member) look() (wait time.Duration, ok bool) {
	d := deadline{now: m.clock.now()}
	halfClosed := m.inputEnded.Load()
	if halfClosed != 0 {
		halfClosed = max(halfClosed, m.active())
	}
	reason, direction := m.timedOut(&m.limits, &d)
	switch {
	case reason != "":
		m.end(reason, nil, direction)
	case d.due(m.limits.HalfClose, halfClosed):
		m.end(HalfCloseTimeout, nil, ToMember)
	case d.due(m.limits.Idle, max(1, m.active())):
		m.end(IdleTimeout, nil, Neither)
	default:
		m.lookAtDrain(&d)
		return d.wait, d.set
	}
	return 0, false
}

func (m *Member) keeper() *keeper { return &m.keeps }

func (m *Member) skips() bool { return skips(m.config.OnViolation) }

// fail ends the member and returns errOver.
func (m *Member) fail(reason Reason, err error, d Direction) error {
	m.end(reason, err, d)
	return errOver
}

func (m *Member) codecFailed(call string, err error, d Direction) error {
	return m.fail(CodecFailed, fmt.Errorf("relay: %s: %s: %w", d, call, err), d)
}

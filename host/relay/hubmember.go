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

// MemberConfig is the part of the configuration that both kinds of members have.
type MemberConfig struct {
	// Codec is the member's framing. Members whose Codec is the same value share encoded frames. nil, which only datagram
	// members may have, means that each datagram is a payload.
	Codec codeccall.Codec
	Use   Use   // "": Both
	Queue Queue // for frames that are sent to the member
	Echo  bool  // send the member its own frames too

	OnViolation OnViolation // for violations by the member; "": CloseSession

	// Peer is the address, without a port, to which the memory of the member is attributed; "": not known.
	Peer string

	// Joined, unless nil, is called once, when the member has joined: from then on it gets the frames that others send.
	Joined func()

	// Violation is called for each violation, including those that are skipped. The goroutine that found the violation calls
	// it, and waits until it returns. The member's receiving and sending goroutines may call it at the same time. A violation
	// in a stream that is not skipped is also the Err of the MemberResult. nil: violations are not reported.
	Violation func(Violation)
	// Quarantine and WireBytes are as in [Config].
	Quarantine func(Violation) io.WriteCloser
	WireBytes  int
}

// A Member is one participant of a hub. Its methods are safe for concurrent use. Run may be called once.
type Member struct {
	hub       *Hub
	config    MemberConfig
	keeps     keeper
	transport transport
	limits    Timeouts
	*receiver
	counts  hubCounters
	account *memoryAccount
	// endless means that no violation ends the member, because it has no connection that could be closed.
	endless bool

	// The hub's mu guards these.
	passing          bool // the member is passing on what it received
	stoppedReceiving bool // the member has stopped receiving because of a drain

	clock      clock
	life                   // of the stream's link; a datagram member only sets readAt
	between    atomic.Bool // the reader waits, and no frame is unfinished
	drainSince mark        // when Drain was called
	drainsFor  Reason      // the reason passed to Drain; set before drainSince

	outcome
	draining atomic.Pointer[Reason] // of the drain or end that is under way; nil: none is
}

// A transport moves a member's bytes. After cut, no call waits for long.
type transport interface {
	// open prepares for receive and transmit.
	open()
	// receive passes on arriving bytes until the input ends or the member is over.
	receive()
	// transmit writes queued frames until the queue is sealed and empty or the member is over.
	transmit()
	// forAll reports whether any peer may send to the transport, and not just one.
	forAll() bool
	// unread reports whether bytes have arrived that the reader has not read.
	unread() bool
	// stalled reports whether the writer waits for the peer to accept bytes that were written to it.
	stalled() bool
	// cut wakes receive and transmit, and resets a stream whose end was not written.
	cut()
	close()
}

// A MemberResult says how a member ended.
type MemberResult struct {
	Reason    Reason
	Err       error     // the cause; nil for Fin, Drained, DrainTimeout and timeouts; a FrameTimeout may have a *Violation
	Direction Direction // FromMember, ToMember, or Neither: in no particular direction
	Stats     MemberStats
}

var (
	errState   = errors.New("relay: a codec whose frames depend on those before them; want one without state in a hub")
	errNoCodec = errors.New("relay: a stream without a codec; want one in a hub")
)

// newMember prepares a member. outbox is the receiver whose frames the member writes; nil: the member has a receiver of its own.
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
	m.clock.begin(m.checkTimeouts)
	m.prepareOutcome()
	return m, nil
}

// Run joins the hub and relays until the member is over. Then it leaves the hub, closes the member's link or datagrams, and returns
// how the member ended. Run may be called once. When ctx ends, the member ends at once. The reason is then the cause of ctx if that
// is a [Reason], and otherwise Drained. A [DrainTimeout] does not replace the reason of a member whose peer has already seen a clean
// end.
func (m *Member) Run(ctx context.Context) MemberResult {
	stop := context.AfterFunc(ctx, func() {
		reason := Drained
		errors.As(context.Cause(ctx), &reason)
		if reason == DrainTimeout && m.lingers() {
			reason = m.finalReason() // the peer has already seen a clean end
		}
		m.end(reason, nil, Neither)
	})
	defer stop()
	before := MemberCounts{}
	if m.ofOutbox {
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
	<-m.settled // the goroutine that ended the member decides whether the link is reset
	m.transport.close()
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
	if m.endless {
		m.account = m.hub.memory.open(m.config.Peer, directionMemory)
	} else {
		m.account = m.life.openAccount(m.hub.memory, m.config.Peer, m.active)
	}
	if m.echoFilter != nil {
		m.echoFilter.account = m.account
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

// End asks the member to end in good order, with reason, as [Hub.End] asks all members. End does not wait.
func (m *Member) End(reason Reason) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.endNow(reason)
}

// endNow does the work of End. The caller holds the hub's mu.
func (m *Member) endNow(reason Reason) {
	m.drainFor(reason)
	if !m.passing && m.hub.ending == "" {
		m.finish()
	}
}

// GiveWay ends the member at once, with the reason Refused, to make room for another connection. It is for a member whose peer has
// ended its own direction, and to which nothing has been sent since.
func (m *Member) GiveWay() {
	m.end(Refused, errors.New("relay: to member: half-closed and idle, closed to make room for another connection"), ToMember)
}

func (m *Member) drainFor(reason Reason) { m.draining.CompareAndSwap(nil, &reason) }

func (m *Member) drained() bool { return m.draining.Load() != nil }

// finalReason returns the reason of a member that no error or timeout has ended: that of its drain or end, or else Fin.
func (m *Member) finalReason() Reason {
	if reason := m.draining.Load(); reason != nil {
		return *reason
	}
	return Fin
}

// lingers reports whether the member waits only for its peer to end, which it does for lingerTime.
func (m *Member) lingers() bool { return m.drained() && m.wroteAll.Load() != 0 }

// end sets the member's result and cuts its transport. It does nothing if the result is already set. end wakes blocked calls, and
// does not wait.
func (m *Member) end(reason Reason, err error, direction Direction) {
	if !m.decide(reason, err, direction) {
		return
	}
	defer close(m.settled)
	m.announce()
	if reason == DrainTimeout && !m.ofOutbox {
		m.queue.cut()
	}
	m.detach(m, reason)
	m.transport.cut()
}

// checkTimeouts ends the member if a timeout is due. The clock calls it.
func (m *Member) checkTimeouts() (wait time.Duration, ok bool) {
	d := deadline{now: m.clock.now()}
	reason, direction := m.timedOut(&m.limits, &d, true, m.active())
	switch {
	case reason != "":
		m.end(reason, nil, direction)
	case m.lingers() && d.due(lingerTime, m.wroteAll.Load()):
		m.end(m.finalReason(), nil, Neither)
	case d.due(m.limits.Idle, max(1, m.active())):
		m.end(IdleTimeout, nil, Neither)
	default:
		m.checkDrain(&d)
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

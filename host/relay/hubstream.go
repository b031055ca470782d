package relay

import (
	"errors"
	"io"
)

// A StreamMember describes a member that is a stream.
type StreamMember struct {
	MemberConfig
	Link     Link
	Shutdown bool // the direction that Use leaves out is ended in the link when the member starts
	Timeouts Timeouts
	// Outbox, unless nil, has the frames for the member, and must have the member's codec; its Queue and Echo apply instead of
	// those of the member. From the call of Run on the member uses the Outbox, and only one member may at a time.
	Outbox *Outbox
	// InputEnded, unless nil, is called once the peer has ended its own direction and what it sent was passed on. The
	// member goes on receiving; InputEnded may drain it, or the hub.
	InputEnded func()
	// Classify returns the reason for an error of the link: Reset, PeerLost or IOError. nil: IOError.
	Classify func(error) Reason
}

// Stream prepares a member, which owns its link once Run is called. It fails without a codec, or with one that uses
// state.
func (h *Hub) Stream(config StreamMember) (*Member, error) {
	if config.Codec == nil {
		return nil, errNoCodec
	}
	var outbox *receiver
	if config.Outbox != nil {
		outbox = &config.Outbox.receiver
	}
	m, err := h.newMember(config.MemberConfig, outbox)
	if err != nil {
		return nil, err
	}
	m.limits = config.Timeouts
	from, to := traffic{FromMember, &m.counts.counters}, traffic{ToMember, &m.counts.counters}
	m.begin(config.Link, m, &m.clock, config.Classify, from, to)
	m.transport = &streamTransport{Member: m, shutdown: config.Shutdown, onEnd: config.InputEnded}
	return m, nil
}

// A streamTransport is a member that is a stream. Its reader receives, decodes, and has what it found encoded and queued for
// the others; its writer writes what the others sent.
type streamTransport struct {
	*Member
	shutdown bool
	onEnd    func() // unless nil, called at the end of the input

	// The reader's.
	streamDecoder
	dispatcher dispatcher

	// The writer's.
	taken []frameRange
	wrote int // bytes of taken that the link has accepted
}

// sends is false when the bytes that the peer sends are discarded, or its direction was ended at the start.
func (p *streamTransport) sends() bool { return p.config.Use != SendOnly }

func (p *streamTransport) open() {
	p.begin(p.Member.ctx, p, p.Member.account, FromMember, &p.Member.counts.counters)
	if p.shutdown {
		p.shutUnused(p.config.Use)
	}
}

func (p *streamTransport) receive() {
	if !p.sends() && p.shutdown {
		p.watch(p.noteEnd)
		return
	}
	if p.sends() {
		p.expect(p.config.Codec)
		p.dispatcher.begin(p.Member, p.config.Codec.Properties().MaxFrame)
		p.decoder.Direction = p.config.Codec.Open()
		defer p.decoder.Direction.Close()
		defer p.dispatcher.close()
	}
	_ = p.receiveAll() // an error means that the member, or its input, has ended, which is recorded already
	p.explainTimeout(&p.outcome)
	p.keepNoMore()
	if p.sends() && p.wasCut() {
		p.streamDecoder.counts.bytesNotDelivered.Add(int64(p.inbox.len()))
	}
	p.inbox.drop()
	p.streamDecoder.counts.bytesWaiting.Store(0)
	if p.inputEnded.Load() != 0 && p.wroteAll.Load() == 0 && !p.over() {
		p.watch(nil)
	}
}

// receiveAll is the loop of the reader. An error means that the member is over.
func (p *streamTransport) receiveAll() error {
	for {
		if err := p.inbox.compactOrGrow(p.Member.ctx); err != nil {
			return p.fail(MemoryShort, err)
		}
		n, err := p.read()
		if p.over() {
			return errOver // an end that the member itself made says nothing about the peer
		}
		failed := error(nil)
		if p.hub.enter(p.Member) {
			failed = p.pass(n, err)
			p.hub.exit(p.Member)
		} else {
			p.late.Add(int64(n))
			p.discardAll() // the bytes came too late: the member ends
		}
		if failed != nil || err != nil {
			return failed
		}
	}
}

// read receives once.
func (p *streamTransport) read() (n int, err error) {
	p.between.Store(p.inbox.len() == 0 && !p.decoder.Dropping())
	n, err = p.life.read(&p.streamDecoder)
	if n > 0 {
		p.between.Store(false)
	}
	p.noteRead(n)
	p.inbox.setFlooding(false) // nothing is encoded and written while the next batch is read
	return n, err
}

// pass passes on what was received. An error means that the member is over.
func (p *streamTransport) pass(n int, err error) error {
	switch {
	case !p.sends():
		p.discardAll()
	case n > 0:
		if err := p.decodeAll(false); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return p.passEnd()
	case err != nil:
		return p.failed("read", err, FromMember)
	default:
		return nil
	}
}

// passEnd deals with the end of what the peer sends. One that only sends is done then.
func (p *streamTransport) passEnd() error {
	if p.sends() {
		if err := p.decodeAll(true); err != nil {
			return err
		}
	}
	p.noteEnd()
	if p.config.Use == ReceiveOnly {
		p.queue.seal()
	}
	return nil
}

// noteEnd notes that the peer has ended its own direction.
func (p *streamTransport) noteEnd() {
	p.inputEnded.Store(p.clock.now())
	if p.onEnd != nil {
		p.onEnd()
	}
}

// watch waits until the connection is over, and then ends the member.
func (p *streamTransport) watch(halfClosed func()) {
	switch err := p.link.WaitEnd(halfClosed); {
	case p.over():
	case errors.Is(err, io.EOF):
		p.end(p.finalReason(), nil, Neither)
	default:
		_ = p.failed("watch", err, ToMember)
	}
}

func (p *streamTransport) discardAll() {
	p.streamDecoder.counts.bytesDiscarded.Add(int64(p.inbox.len()))
	p.inbox.drop()
}

// deliver sends the payloads of b to the others.
func (p *streamTransport) deliver(b *batch, _ bool) error {
	defer b.free(p.Member.account)
	if len(b.found.Refs) == 0 {
		return nil
	}
	if err := p.dispatcher.send(b); err != nil {
		if v := (*Violation)(nil); errors.As(err, &v) {
			return p.fail(Unrepresentable, v)
		}
		return p.fail(MemoryShort, err)
	}
	if p.over() {
		return errOver
	}
	return nil
}

// wait has nothing to wait for: what was handed over is copied.
func (p *streamTransport) wait() {}

func (p *streamTransport) fail(reason Reason, err error) error {
	return p.Member.fail(reason, err, FromMember)
}

func (p *streamTransport) codecFailed(call string, err error) error {
	if p.over() {
		return errOver
	}
	return p.Member.codecFailed(call, err, FromMember)
}

func (p *streamTransport) forAll() bool { return false }

func (p *streamTransport) stalled() bool { return p.link.Stalled() }

func (p *streamTransport) senderLost() error {
	err := p.lost()
	if err == nil {
		return nil
	}
	return p.failed("read", err, FromMember)
}

func (p *streamTransport) cut() {
	p.shut(p.wroteAll.Load() != 0 || p.config.Use == ReceiveOnly && !p.wasCut())
}

func (p *streamTransport) close() { _ = p.link.Close() }

package relay

import (
	"errors"
	"io"
)

// A StreamMember describes a member that is a stream.
type StreamMember struct {
	MemberConfig
	Link     Link
	Shutdown bool // when the member starts, end the direction of the link that Use excludes
	Timeouts Timeouts
	// Outbox, unless nil, holds the frames for the member. It must have the member's codec. Its Queue and Echo apply, and not
	// those of the member. The member uses the Outbox from the call of Run on; only one member at a time may use it.
	Outbox *Outbox
	// InputEnded, unless nil, is called when the peer has ended its own direction and everything that it sent was passed on. The
	// member goes on sending to its peer. InputEnded may drain the member or the hub.
	InputEnded func()
	// Classify returns the reason for an error of the link: Reset, PeerLost or IOError. nil: IOError.
	Classify func(error) Reason
}

// Stream prepares a member that is a stream. The member owns config.Link from the call of Run on. Stream returns an error if there is
// no codec, or if the codec uses state.
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

// A streamTransport is a member that is a stream. Its reader receives and decodes, and its dispatcher encodes and queues the payloads
// for the other members. Its writer writes the frames that the others sent.
type streamTransport struct {
	*Member
	shutdown bool
	onEnd    func() // unless nil, called at the end of the input

	// For the reader.
	streamDecoder
	dispatcher dispatcher

	// For the writer.
	taken []frameRange
	wrote int // bytes of taken that the link has accepted
}

// sends reports whether the hub relays the bytes that the peer sends. If not, they are discarded, or the peer's direction was ended at
// the start.
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
	_ = p.receiveAll() // an error means that the member or its input has ended, which is recorded already
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
			return errOver // the member itself has shut the link, so err says nothing about the peer
		}
		failed := error(nil)
		if p.hub.enter(p.Member) {
			failed = p.pass(n, err)
			p.hub.exit(p.Member)
		} else {
			if p.sends() {
				p.late.Add(int64(n)) // the member is ending
			}
			p.discardAll()
		}
		if failed != nil || err != nil {
			return failed
		}
	}
}

// read reads once.
func (p *streamTransport) read() (n int, err error) {
	p.between.Store(p.inbox.len() == 0 && !p.decoder.Dropping())
	n, err = p.life.read(&p.streamDecoder)
	if n > 0 {
		p.between.Store(false)
	}
	p.noteRead(n)
	p.inbox.setFlooding(false) // no other goroutine encodes while the next batch is read
	return n, err
}

// pass passes on the received bytes. n and err are the results of read. An error means that the member is over.
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

// passEnd passes on the rest of the input after its end. If the peer only sends, passEnd also ends the writer. An error means that the
// member is over.
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

// watch waits until the connection is over, and then ends the member. halfClosed, unless nil, is called when the peer has ended its
// direction.
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

// deliver sends the payloads of b to the other members.
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

// wait returns at once: delivered batches are copied.
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

// stalled reports whether the peer accepts no bytes: a write waits, or a wait for an acknowledgement has lasted as long as senders
// wait.
func (p *streamTransport) stalled() bool {
	since := p.writeSince.Load()
	return p.link.Stalled() || since != 0 && p.clock.now()-since >= int64(p.hub.Patience)
}

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

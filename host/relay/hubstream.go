package relay

import (
	"errors"
	"fmt"
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
	if config.Classify == nil {
		config.Classify = func(error) Reason { return IOError }
	}
	m.limits = config.Timeouts
	m.port = &streamPort{Member: m, link: config.Link, shutdown: config.Shutdown, classify: config.Classify,
		onEnd: config.InputEnded}
	return m, nil
}

// A streamPort is a member that is a stream. Its reader receives, decodes, and has what it found encoded and queued for
// the others; its writer writes what the others sent.
type streamPort struct {
	*Member
	link     Link
	shutdown bool
	classify func(error) Reason
	onEnd    func() // unless nil, called at the end of the input

	// The reader's.
	streamDecoder
	dispatcher dispatcher

	// The writer's.
	taken    []segment
	wrote    int  // bytes of taken that the link has accepted
	wroteAll mark // the peer saw a clean end
}

// sends is false when the bytes that the peer sends are discarded, or its direction was ended at the start.
func (p *streamPort) sends() bool { return p.config.Use != SendOnly }

func (p *streamPort) open() {
	p.begin(p.Member.ctx, p, p.Member.account, FromMember, &p.Member.counts.counters)
	switch {
	case !p.shutdown: // an error of what follows will come again
	case p.config.Use == ReceiveOnly:
		_ = p.link.CloseWrite()
	case p.config.Use == SendOnly:
		_ = p.link.CloseRead()
	}
}

func (p *streamPort) receive() {
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
	p.explainTimeout()
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
func (p *streamPort) receiveAll() error {
	for {
		if err := p.inbox.settle(p.Member.ctx); err != nil {
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
			p.late.Store(p.late.Load() || n > 0)
			p.discardAll() // the bytes came too late: the member ends
		}
		if failed != nil || err != nil {
			return failed
		}
	}
}

// read receives once, and notes how long it waited for an unfinished frame.
func (p *streamPort) read() (n int, err error) {
	before := p.clock.now()
	unfinished := p.inbox.len() > 0
	p.streamDecoder.counts.bytesWaiting.Store(int64(p.inbox.len()))
	if unfinished {
		p.frameSince.Store(max(1, before-p.frameSpent))
	}
	p.between.Store(!unfinished && !p.decoder.Dropping())
	n, err = p.link.Read(p.grab, p.release)
	after := p.clock.now()
	if n > 0 {
		p.heard.Store(after)
		p.between.Store(false)
	}
	p.frameSince.clear()
	if n > 0 {
		p.active.Store(after)
		p.streamDecoder.counts.bytesRead.Add(int64(n))
	}
	p.inbox.took(n)
	p.crumbs.read(n)
	p.inbox.setFlooding(false) // a member does not read the next batch while it passes on this one
	p.frameSpent += after - before
	if !unfinished {
		p.frameSpent = 0
	}
	return n, err
}

// pass passes on what was received. An error means that the member is over.
func (p *streamPort) pass(n int, err error) error {
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
		return p.linkFailed("read", err, FromMember)
	default:
		return nil
	}
}

// passEnd deals with the end of what the peer sends. One that only sends is done then.
func (p *streamPort) passEnd() error {
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
func (p *streamPort) noteEnd() {
	p.inputEnded.Store(p.clock.now())
	if p.onEnd != nil {
		p.onEnd()
	}
}

// watch waits until the connection is over, and then ends the member.
func (p *streamPort) watch(halfClosed func()) {
	switch err := p.link.WaitEnd(halfClosed); {
	case p.over():
	case errors.Is(err, io.EOF):
		p.end(p.finalReason(), nil, Neither)
	default:
		_ = p.linkFailed("watch", err, ToMember)
	}
}

func (p *streamPort) discardAll() {
	p.streamDecoder.counts.bytesDiscarded.Add(int64(p.inbox.len()))
	p.inbox.drop()
}

// handOver sends the payloads of b to the others.
func (p *streamPort) handOver(b *batch, _ bool) error {
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
func (p *streamPort) wait() {}

func (p *streamPort) fail(reason Reason, err error) error {
	return p.Member.fail(reason, err, FromMember)
}

func (p *streamPort) codecFailed(call string, err error) error {
	if p.over() {
		return errOver
	}
	return p.Member.codecFailed(call, err, FromMember)
}

func (p *streamPort) linkFailed(operation string, err error, d Direction) error {
	return p.Member.fail(p.classify(err), fmt.Errorf("relay: %s: %s: %w", d, operation, err), d)
}

func (p *streamPort) forAll() bool { return false }

func (p *streamPort) unread() bool {
	n, err := p.link.Readable()
	return n > 0 || err != nil // with an error, the reader is about to see what it is
}

func (p *streamPort) stalled() bool { return p.link.Stalled() }

func (p *streamPort) senderLost() error {
	err := lost(p.link)
	if err == nil {
		return nil
	}
	return p.linkFailed("read", err, FromMember)
}

func (p *streamPort) cut() {
	if !p.late.Load() && (p.wroteAll.Load() != 0 || p.config.Use == ReceiveOnly && !p.wasCut()) {
		_ = p.link.Close()
	} else {
		_ = p.link.Reset()
	}
}

func (p *streamPort) close() { _ = p.link.Close() }

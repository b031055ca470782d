package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A flow is one direction of a session. The goroutine of run, the reader, receives and decodes. The reader also encodes and writes,
// except while the sender floods: then a second goroutine encodes and writes, one batch at a time.
type flow struct {
	session          *Session
	sender, receiver *Side
	from, to         *life

	counts counters

	// Only the reader uses the fields below. While the reader is parked, a drain reads the inbox.
	streamDecoder
	longestTo int                 // the receiver's longest payload, in bytes
	encoder   codecstream.Encoder // for the goroutine that holds the turn
	frames    sessionFrames       // likewise
	later     chan *batch         // to the goroutine that writes while the sender floods; nil: there is none
	turn      chan struct{}       // holds a token while no goroutine encodes or writes

	// Frames and bytes that are lost when the session ends. The goroutine that holds the turn uses the first two fields.
	lostFrames int64        // frames that were decoded and not written
	lostBytes  int64        // bytes of their payloads; in an unframed session, bytes that were not written
	arrived    atomic.Int64 // bytes that had arrived when the session ended, read or not

	mu     sync.Mutex
	parked bool          // the reader is in the link's Read
	halted halt          // unless going, bytes that are read from now on are not passed on
	done   bool          // the flow is finishing or has finished
	closed chan struct{} // closed when the flow has finished
}

func newFlow(s *Session, d Direction, sender, receiver *Side, from, to *life) *flow {
	f := &flow{
		session: s, sender: sender, receiver: receiver, from: from, to: to,
		turn: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	f.turn <- struct{}{}
	f.begin(s.ctx, f, nil, d, &f.counts)
	if f.framed() {
		f.expect(sender.Codec)
		f.longestTo = receiver.Codec.Properties().MaxFrame
		f.encoder.MaxFrame, f.encoder.Longest = f.longestTo, f.longestFrom
		f.frames.flow = f
	}
	return f
}

// openAccount opens the memory account of the direction.
func (f *flow) openAccount() {
	a := f.from.openAccount(f.session.config.Memory, f.session.config.Peer, f.active)
	f.account, f.inbox.account = a, a
}

// active returns when the last byte was read from the sender or written to the receiver; 0: no byte yet.
func (f *flow) active() int64 { return max(f.from.readAt.Load(), f.to.wroteAt.Load()) }

// relayed reports whether the flow passes bytes on. If the Use of a side excludes the flow, its bytes are discarded.
func (f *flow) relayed() bool { return f.sender.Use != SendOnly && f.receiver.Use != ReceiveOnly }

func (f *flow) framed() bool { return f.relayed() && f.sender.Codec != nil }

// absent reports whether the sender's direction was ended when the session started.
func (f *flow) absent() bool { return f.sender.Use == SendOnly && f.sender.Shutdown }

// complete reports whether closing the receiver's link is safe: the receiver has seen a clean end, or gets nothing from this flow.
func (f *flow) complete() bool { return f.to.wroteAll.Load() != 0 || !f.relayed() }

// errOver ends a goroutine of a session, or of a member of a hub, that is already over.
var errOver = errors.New("relay: the session is over")

// run receives until the sender or the session ends. It returns when no work of the flow is under way.
func (f *flow) run() {
	if f.absent() {
		f.finishAbsent()
		return
	}
	if f.framed() {
		f.decoder.Direction, f.encoder.Direction = f.sender.Codec.Open(), f.receiver.Codec.Open()
		defer f.decoder.Direction.Close()
		defer f.encoder.Direction.Close()
	}
	_ = f.receive() // an error only says that the session is over; its outcome is recorded
	f.explainTimeout(&f.session.outcome)
	f.stopWriter()
	<-f.turn
	f.keepNoMore()
	f.countLost()
	f.inbox.setFlooding(false)
	f.inbox.drop()
	f.counts.bytesWaiting.Store(0)
}

// finishAbsent finishes a flow that reads nothing.
func (f *flow) finishAbsent() {
	f.mu.Lock()
	mine := !f.done
	f.done = true
	f.mu.Unlock()
	if mine {
		close(f.closed)
		f.session.finished()
	}
}

// countLost counts the frames and bytes that arrived and were not delivered. The caller holds the turn, and does not pass it on.
func (f *flow) countLost() {
	if f.relayed() {
		unread := max(0, f.arrived.Load()-f.counts.bytesRead.Load())
		f.counts.framesNotDelivered.Store(f.lostFrames)
		f.counts.bytesNotDelivered.Store(f.lostBytes + int64(f.inbox.len()) + f.from.late.Load() + unread)
	}
}

// lose counts payloads that were decoded and will not be written. The caller holds the turn.
func (f *flow) lose(refs []codecs.Ref) {
	f.lostFrames += int64(len(refs))
	for _, r := range refs {
		f.lostBytes += int64(r.Len)
	}
}

// noteArrived notes how many bytes have arrived from the sender, read or unread.
func (f *flow) noteArrived() {
	read := f.counts.bytesRead.Load()
	if n, err := f.from.link.Readable(); err == nil {
		f.arrived.Store(read + int64(n))
	}
}

// receive is the loop of the reader. An error means that the session is over.
func (f *flow) receive() error {
	for {
		if err := f.inbox.compactOrGrow(f.session.ctx); err != nil {
			return f.fail(MemoryShort, err)
		}
		n, how, err := f.read()
		if how != going {
			return f.stop(n, how, err)
		}
		if f.session.over() {
			return errOver // the session itself has shut the link, so err says nothing about the peer
		}
		if !f.inbox.flooding {
			f.stopWriter()
		}
		if n > 0 {
			if err := f.pass(false); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return f.finish()
		}
		if err != nil {
			f.wait()
			return f.from.failed("read", err, f.direction)
		}
	}
}

// read reads once from the sender. If the flow was halted before or during the read, the bytes are not passed on.
func (f *flow) read() (n int, how halt, err error) {
	if how := f.park(); how != going {
		return 0, how, nil
	}
	n, err = f.from.read(&f.streamDecoder)
	if how := f.unpark(n); how != going {
		f.inbox.release(nil)
		return n, how, err
	}
	f.noteRead(n)
	return n, going, err
}

// pass passes on the received bytes. An error means that the session is over.
func (f *flow) pass(eof bool) error {
	switch {
	case !f.relayed():
		f.counts.bytesDiscarded.Add(int64(f.inbox.len()))
		f.inbox.drop()
		return nil
	case f.framed():
		return f.decodeAll(eof)
	default:
		return f.passRaw()
	}
}

func (f *flow) passRaw() error {
	<-f.turn
	written, err := f.to.write(f.inbox.Bytes())
	f.lostBytes += int64(f.inbox.len() - written)
	f.turn <- struct{}{}
	f.inbox.drop()
	return err
}

// finish ends the flow after its sender has ended: it passes on the rest, and ends the receiver's stream. An error means that the
// session is over.
func (f *flow) finish() error {
	defer close(f.closed)
	if err := f.pass(true); err != nil {
		return err
	}
	if f.relayed() {
		if err := f.end(); err != nil {
			return err
		}
	}
	f.from.inputEnded.Store(f.session.clock.now())
	f.session.finished()
	return nil
}

// end ends the receiver's stream cleanly.
func (f *flow) end() error {
	<-f.turn
	defer func() { f.turn <- struct{}{} }()
	if f.session.over() {
		return errOver
	}
	if f.framed() {
		if err := f.encodeEnd(); err != nil {
			return err
		}
	}
	return f.closeWrite()
}

// closeWrite ends the receiver's stream, unless late bytes have arrived that should have been part of it.
func (f *flow) closeWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from.late.Load() > 0 {
		return nil // the reader is about to reset the receiver
	}
	return f.to.closeWrite()
}

// wait returns when no goroutine encodes or writes: delivered batches have been written, or can't be.
func (f *flow) wait() {
	<-f.turn
	f.turn <- struct{}{}
}

func (f *flow) over() bool      { return f.session.over() }
func (f *flow) skips() bool     { return skips(f.session.config.OnViolation) }
func (f *flow) keeper() *keeper { return &f.session.keeper }

func (f *flow) senderLost() error {
	err := f.from.lost()
	if err == nil {
		return nil
	}
	f.wait()
	return f.from.failed("read", err, f.direction)
}

// fail ends the session and returns errOver.
func (f *flow) fail(reason Reason, err error) error {
	f.session.end(reason, err, f.direction)
	return errOver
}

func (f *flow) codecFailed(call string, err error) error {
	if errors.Is(err, context.Canceled) && f.session.over() {
		return errOver
	}
	return f.fail(CodecFailed, fmt.Errorf("relay: %s: %s: %w", f.direction, call, err))
}

// deliver encodes and writes b. While the sender floods, another goroutine does so, and gets the inbox's buffer with b. last says
// that the decoder no longer needs that buffer.
func (f *flow) deliver(b *batch, last bool) error {
	if len(b.found.Refs) == 0 {
		b.free(f.account)
		return nil
	}
	<-f.turn
	if f.session.over() {
		f.lose(b.found.Refs)
		b.free(f.account)
		f.turn <- struct{}{}
		return errOver
	}
	if last && f.inbox.flooding {
		if b.buf = f.inbox.detach(); b.buf != nil {
			f.writeBatchLater(b)
			return nil
		}
	}
	return f.writeBatch(b)
}

// writeBatchLater passes b to the goroutine that writes while the sender floods. It starts the goroutine if there is none.
func (f *flow) writeBatchLater(b *batch) {
	if f.later == nil {
		later := make(chan *batch, 1) // only the goroutine that holds the turn sends, so there is room
		f.later = later
		go func() {
			for b := range later {
				_ = f.writeBatch(b) // the reader sees an error as the end of the session
			}
		}()
	}
	f.later <- b
}

// stopWriter ends the goroutine of writeBatchLater, after it has written its batch. stopWriter does not wait.
func (f *flow) stopWriter() {
	if f.later != nil {
		close(f.later)
		f.later = nil
	}
}

// writeBatch encodes and writes b, frees b, and passes the turn on.
func (f *flow) writeBatch(b *batch) error {
	err := f.encodeAll(b)
	b.free(f.account)
	f.turn <- struct{}{}
	return err
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A flow is one direction of a session. Its reader (run) receives and decodes; it also encodes and writes, except
// while the sender floods: then another goroutine does that, one batch at a time.
type flow struct {
	session  *Session
	from, to *Side

	// For the clock, and for the opposite flow.
	active     mark // the last byte, read or written
	frameSince mark // reading on for an unfinished frame, counting what was spent on it before
	writeSince mark // a write is pending, and accepted its last byte then
	ended      mark // the sender ended, and everything was passed on
	counts     counters

	// Only the reader uses these; while it is parked, a drain reads the inbox.
	streamDecoder
	longestTo int                 // bytes of the longest payload to the receiver
	encoder   codecstream.Encoder // of the goroutine that has the turn
	frames    sessionFrames       // likewise
	later     chan *batch         // for the goroutine that delivers while the sender floods; nil: there is none
	turn      chan struct{}       // holds a token while no goroutine encodes or writes
	wroteAll  atomic.Bool         // the receiver saw a clean end

	// What is lost when the session ends. The holder of the turn uses the first two.
	lostFrames int64        // frames that were decoded and not written
	lostBytes  int64        // bytes of their payloads; unframed, bytes that were not written
	late       atomic.Int64 // bytes that came after the flow was halted
	arrived    atomic.Int64 // bytes that had come when the session ended, also those that were not read

	mu     sync.Mutex
	parked bool          // the reader is in the link's Read
	halted halt          // unless going, bytes that are read from now on are not passed on
	done   bool          // the flow finishes, or has
	closed chan struct{} // closed when the flow has finished
}

func newFlow(s *Session, d Direction, from, to *Side) *flow {
	f := &flow{session: s, from: from, to: to, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	f.turn <- struct{}{}
	f.begin(s.ctx, f, nil, d, &f.counts)
	if f.framed() {
		f.expect(from.Codec)
		f.longestTo = to.Codec.Properties().MaxFrame
		f.encoder.MaxFrame, f.encoder.Longest = f.longestTo, f.longestFrom
		f.frames.flow = f
	}
	return f
}

// openAccount opens the memory account of the direction.
func (f *flow) openAccount() {
	a := f.session.config.Memory.open(f.session.config.Peer, directionMemory)
	if a != nil {
		a.progress = func() (time.Time, int64) {
			last := f.session.clock.origin.Add(time.Duration(f.active.Load()))
			return last, f.counts.bytesRead.Load() + f.counts.bytesWritten.Load()
		}
		a.end = func(err error) { f.session.end(MemoryShort, err, f.direction) }
	}
	f.account, f.inbox.account = a, a
}

// relayed is false where the sides' use leaves the flow out: then what is sent is discarded.
func (f *flow) relayed() bool { return f.from.Use != SendOnly && f.to.Use != ReceiveOnly }

func (f *flow) framed() bool { return f.relayed() && f.from.Codec != nil }

// absent reports whether the sender's direction was ended when the session started.
func (f *flow) absent() bool { return f.from.Use == SendOnly && f.from.Shutdown }

// complete is true when the receiver has seen, or needs, no other end than a plain one.
func (f *flow) complete() bool { return f.wroteAll.Load() || !f.relayed() }

// errOver ends a goroutine of a session that has ended already.
var errOver = errors.New("relay: the session is over")

// run receives until the sender ends or the session does, and returns when nothing of the flow is under way.
func (f *flow) run() {
	if f.absent() {
		f.finishAbsent()
		return
	}
	if f.framed() {
		f.decoder.Direction, f.encoder.Direction = f.from.Codec.Open(), f.to.Codec.Open()
		defer f.decoder.Direction.Close()
		defer f.encoder.Direction.Close()
	}
	_ = f.receive() // an error only says that the session knows how it ended
	f.explainTimeout()
	f.deliverNow()
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

// countLost counts the frames and bytes that were received and not delivered. The caller holds the turn, and keeps it.
func (f *flow) countLost() {
	if f.relayed() {
		unread := max(0, f.arrived.Load()-f.counts.bytesRead.Load())
		f.counts.framesNotDelivered.Store(f.lostFrames)
		f.counts.bytesNotDelivered.Store(f.lostBytes + int64(f.inbox.len()) + f.late.Load() + unread)
	}
}

// lose notes payloads that were decoded and will not be written. The caller holds the turn.
func (f *flow) lose(refs []codecs.Ref) {
	f.lostFrames += int64(len(refs))
	for _, r := range refs {
		f.lostBytes += int64(r.Len)
	}
}

// noteArrived notes how many bytes have arrived for the receiver, read or unread.
func (f *flow) noteArrived() {
	read := f.counts.bytesRead.Load()
	if n, err := f.from.Link.Readable(); err == nil {
		f.arrived.Store(read + int64(n))
	}
}

// receive is the loop of the reader. An error means that the session is over.
func (f *flow) receive() error {
	for {
		if err := f.inbox.settle(f.session.ctx); err != nil {
			return f.fail(MemoryShort, err)
		}
		n, how, err := f.read()
		if how != going {
			return f.stop(n, how, err)
		}
		if f.session.over.Load() {
			return errOver // an end that the session itself made says nothing about the peer
		}
		if !f.inbox.flooding {
			f.deliverNow()
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
			return f.linkFailed("read", err)
		}
	}
}

// read reads once from the sender. If the flow was halted before or meanwhile, the bytes are not passed on.
func (f *flow) read() (n int, how halt, err error) {
	if how := f.park(); how != going {
		return 0, how, nil
	}
	// Most reads begin with an empty inbox; those leave out what only an unfinished frame needs.
	unfinished, before := f.inbox.len() > 0, int64(0)
	if waiting := int64(f.inbox.len()); waiting != f.counts.bytesWaiting.Load() {
		f.counts.bytesWaiting.Store(waiting)
	}
	if unfinished {
		before = f.session.clock.now()
		f.frameSince.Store(max(1, before-f.frameSpent))
	}
	n, err = f.from.Link.Read(f.grab, f.release)
	after := f.session.clock.now()
	if unfinished {
		f.frameSince.clear()
	}
	if n > 0 {
		f.active.Store(after)
		f.counts.bytesRead.Add(int64(n))
	}
	if how := f.unpark(n); how != going {
		f.inbox.release(nil)
		return n, how, err
	}
	f.inbox.took(n)
	f.crumbs.read(n)
	if unfinished {
		f.frameSpent += after - before
	} else {
		f.frameSpent = 0
	}
	return n, going, err
}

// pass moves on what was received. An error means that the session is over.
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
	written, err := f.write(f.inbox.Bytes())
	f.lostBytes += int64(f.inbox.len() - written)
	f.turn <- struct{}{}
	f.inbox.drop()
	return err
}

// finish ends the flow after its sender has ended and everything received was passed on. An error means that the session is over.
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
	f.ended.Store(f.session.clock.now())
	f.session.finished()
	return nil
}

// end lets the receiver see the end of its stream.
func (f *flow) end() error {
	<-f.turn
	defer func() { f.turn <- struct{}{} }()
	if f.session.over.Load() {
		return errOver
	}
	if f.framed() {
		if err := f.encodeEnd(); err != nil {
			return err
		}
	}
	if err := f.closeWrite(); err != nil {
		return f.linkFailed("end", err)
	}
	return nil
}

// closeWrite ends the receiver's stream, unless bytes came that should have been part of it.
func (f *flow) closeWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late.Load() > 0 {
		return nil // the reader is about to reset the receiver
	}
	err := f.to.Link.CloseWrite()
	if err == nil {
		f.wroteAll.Store(true)
	}
	return err
}

// wait returns when what was handed over has been written, or can't be.
func (f *flow) wait() {
	<-f.turn
	f.turn <- struct{}{}
}

// write writes all of p, and returns how much it wrote. An error means that the session is over.
func (f *flow) write(p []byte) (written int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.writeSince.Store(f.session.clock.now())
	defer f.writeSince.clear()
	defer f.counts.bytesUnwritten.Store(0)
	for written < len(p) {
		f.counts.bytesUnwritten.Store(int64(len(p) - written))
		if f.session.over.Load() {
			return written, errOver
		}
		n, err := f.to.Link.Write(p[written:])
		if n > 0 {
			now := f.session.clock.now()
			f.writeSince.Store(now)
			f.active.Store(now)
			f.counts.bytesWritten.Add(int64(n))
			written += n
		}
		if err != nil && written < len(p) {
			return written, f.linkFailed("write", err)
		}
	}
	return written, nil
}

func (f *flow) over() bool      { return f.session.over.Load() }
func (f *flow) skips() bool     { return skips(f.session.config.OnViolation) }
func (f *flow) keeper() *keeper { return &f.session.keeper }

func (f *flow) senderLost() error {
	err := lost(f.from.Link)
	if err == nil {
		return nil
	}
	f.wait()
	return f.linkFailed("read", err)
}

// fail ends the session and returns errOver.
func (f *flow) fail(reason Reason, err error) error {
	f.session.end(reason, err, f.direction)
	return errOver
}

func (f *flow) linkFailed(operation string, err error) error {
	return f.fail(f.session.config.Classify(err), fmt.Errorf("relay: %s: %s: %w", f.direction, operation, err))
}

func (f *flow) codecFailed(call string, err error) error {
	if errors.Is(err, context.Canceled) && f.session.over.Load() {
		return errOver
	}
	return f.fail(CodecFailed, fmt.Errorf("relay: %s: %s: %w", f.direction, call, err))
}

// handOver has b encoded and written: at once, or, while the sender floods, by a goroutine, with the inbox's buffer.
// last says that the decoder is through with that buffer.
func (f *flow) handOver(b *batch, last bool) error {
	if len(b.found.Refs) == 0 {
		b.free(f.account)
		return nil
	}
	<-f.turn
	if f.session.over.Load() {
		f.lose(b.found.Refs)
		b.free(f.account)
		f.turn <- struct{}{}
		return errOver
	}
	if last && f.inbox.flooding {
		if b.buf = f.inbox.detach(); b.buf != nil {
			f.deliverLater(b)
			return nil
		}
	}
	return f.deliver(b)
}

// deliverLater has another goroutine deliver b. There is one as long as the sender floods.
func (f *flow) deliverLater(b *batch) {
	if f.later == nil {
		later := make(chan *batch, 1) // only the holder of the turn sends, so there is room
		f.later = later
		go func() {
			for b := range later {
				_ = f.deliver(b) // the reader sees an error as the end of the session
			}
		}()
	}
	f.later <- b
}

// deliverNow ends the goroutine that delivers, once it has delivered.
func (f *flow) deliverNow() {
	if f.later != nil {
		close(f.later)
		f.later = nil
	}
}

// deliver encodes and writes b, which it frees, and passes the turn on.
func (f *flow) deliver(b *batch) error {
	err := f.encodeAll(b)
	b.free(f.account)
	f.turn <- struct{}{}
	return err
}

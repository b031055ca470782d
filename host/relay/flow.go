package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/framehost/framehost/codecs/codeccall"
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

	// The reader's own. A drain that has claimed the flow only looks at the inbox.
	reception
	longestTo   int // bytes of the longest payload to the receiver
	encoder     codeccall.Direction
	encodeState []byte        // of whoever has the turn
	later       chan *batch   // for the goroutine that delivers while the sender floods; nil: there is none
	turn        chan struct{} // holds a token while nobody encodes or writes
	wroteAll    atomic.Bool   // the receiver saw a clean end

	mu       sync.Mutex
	reading  bool // the reader is in the link's Read
	draining bool
	claimed  bool          // a drain finishes the flow, or has
	closed   chan struct{} // closed when the flow has finished
}

func newFlow(s *Session, d Direction, from, to *Side) *flow {
	f := &flow{session: s, from: from, to: to, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	f.turn <- struct{}{}
	f.begin(s.ctx, f, s.config.Memory, d, &f.counts)
	if f.framed() {
		f.expect(from.Codec, FrameMemory(from.Codec, to.Codec))
		f.longestTo = to.Codec.Properties().MaxFrame
	}
	return f
}

// relayed is false where the sides' use leaves the flow out: then what is sent is discarded.
func (f *flow) relayed() bool { return f.from.Use != SendOnly && f.to.Use != ReceiveOnly }

func (f *flow) framed() bool { return f.relayed() && f.from.Codec != nil }

// absent is true when the sender was told not to send at all.
func (f *flow) absent() bool { return f.from.Use == SendOnly && f.from.Shutdown }

// complete is true when the receiver has seen, or needs, no other end than a plain one.
func (f *flow) complete() bool { return f.wroteAll.Load() || !f.relayed() }

// errOver ends a goroutine of a session that has ended already.
var errOver = errors.New("relay: the session is over")

// run receives until the sender ends or the session does, and returns when nothing of the flow is under way.
func (f *flow) run() {
	if f.absent() {
		close(f.closed)
		f.session.finished()
		return
	}
	if f.framed() {
		f.decoder, f.encoder = f.from.Codec.Open(), f.to.Codec.Open()
		defer f.decoder.Close()
		defer f.encoder.Close()
	}
	_ = f.receive() // an error only says that the session knows how it ended
	f.explainTimeout()
	f.deliverNow()
	<-f.turn
	f.keepNoMore()
	f.inbox.setFlooding(false)
	f.inbox.drop()
	f.counts.bytesWaiting.Store(0)
}

// receive is the loop of the reader. An error means that the session is over.
func (f *flow) receive() error {
	for {
		if err := f.inbox.settle(f.session.ctx); err != nil {
			return f.fail(MemoryShort, err)
		}
		n, claimed, err := f.read()
		if claimed {
			f.linger(err)
			return nil
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
			return f.finish(true)
		}
		if err != nil {
			f.wait()
			return f.linkFailed("read", err)
		}
	}
}

// read receives once. If the flow's end was claimed meanwhile, what was received came too late.
func (f *flow) read() (n int, claimed bool, err error) {
	if !f.enterRead() {
		return 0, true, nil
	}
	before := f.session.clock.now()
	unfinished := f.inbox.len() > 0
	f.counts.bytesWaiting.Store(int64(f.inbox.len()))
	if unfinished {
		f.frameSince.Store(max(1, before-f.frameSpent))
	}
	n, err = f.from.Link.Read(f.grab, f.release)
	after := f.session.clock.now()
	f.frameSince.clear()
	if n > 0 {
		f.active.Store(after)
		f.counts.bytesRead.Add(int64(n))
	}
	f.mu.Lock()
	f.reading = false
	claimed = f.claimed
	f.mu.Unlock()
	if claimed {
		f.inbox.release(nil)
		f.counts.bytesDiscarded.Add(int64(n))
		return n, true, err
	}
	f.inbox.took(n)
	f.frameSpent += after - before
	if !unfinished {
		f.frameSpent = 0
	}
	return n, false, err
}

// enterRead makes the reader wakeable by drain. It is false, and the flow has finished, when a drain came before.
func (f *flow) enterRead() bool {
	f.mu.Lock()
	drain := f.draining && !f.claimed
	f.claimed = f.claimed || drain
	f.reading = !drain
	f.mu.Unlock()
	if drain {
		_ = f.finish(false)
	}
	return !drain
}

// drain finishes the flow: here, if its reader waits for bytes, otherwise in the reader, as soon as it would read again.
func (f *flow) drain() {
	f.mu.Lock()
	f.draining = true
	mine := f.reading && !f.claimed
	f.claimed = f.claimed || mine
	f.mu.Unlock()
	if mine {
		go func() { _ = f.finish(false) }() // the reader waits for it
	}
}

// linger reads what comes after the flow has finished, until the sender ends too.
func (f *flow) linger(err error) {
	<-f.closed
	f.inbox.drop()
	for err == nil && !f.session.over.Load() {
		var n int
		n, err = f.from.Link.Read(f.grab, f.release)
		f.inbox.took(n)
		f.inbox.drop()
		f.counts.bytesRead.Add(int64(n))
		f.counts.bytesDiscarded.Add(int64(n))
	}
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
	err := f.write(f.inbox.bytes())
	f.inbox.drop()
	return err
}

// finish ends the flow in good order, behind everything received; eof says that the sender ended, rather than that the
// host drains. An error means that the session is over.
func (f *flow) finish(eof bool) error {
	defer close(f.closed)
	if eof {
		if err := f.pass(true); err != nil {
			return err
		}
	}
	if f.relayed() {
		if err := f.end(eof); err != nil {
			return err
		}
	}
	f.ended.Store(f.session.clock.now())
	f.session.finished()
	return nil
}

// end lets the receiver see the end of its stream.
func (f *flow) end(eof bool) error {
	<-f.turn
	defer func() { f.turn <- struct{}{} }()
	if f.session.over.Load() {
		return errOver
	}
	if !eof && (f.inbox.len() > 0 || f.discard > 0) {
		return nil // drained inside a frame: the receiver shall see no clean end, but a reset once all is over
	}
	if f.framed() {
		if err := f.encodeEnd(); err != nil {
			return err
		}
	}
	if err := f.to.Link.CloseWrite(); err != nil {
		return f.linkFailed("end", err)
	}
	f.wroteAll.Store(true)
	return nil
}

// wait returns when what was handed over has been written, or can't be.
func (f *flow) wait() {
	<-f.turn
	f.turn <- struct{}{}
}

// write writes all of p. An error means that the session is over.
func (f *flow) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	f.writeSince.Store(f.session.clock.now())
	defer f.writeSince.clear()
	defer f.counts.bytesUnwritten.Store(0)
	for len(p) > 0 {
		f.counts.bytesUnwritten.Store(int64(len(p)))
		if f.session.over.Load() {
			return errOver
		}
		n, err := f.to.Link.Write(p)
		if n > 0 {
			now := f.session.clock.now()
			f.writeSince.Store(now)
			f.active.Store(now)
			f.counts.bytesWritten.Add(int64(n))
			p = p[n:]
		}
		if err != nil && len(p) > 0 {
			return f.linkFailed("write", err)
		}
	}
	return nil
}

func (f *flow) over() bool      { return f.session.over.Load() }
func (f *flow) skips() bool     { return skips(f.session.config.OnViolation) }
func (f *flow) keeper() *keeper { return &f.session.keeper }

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

package relay

import (
	"errors"
	"io"

	"github.com/framehost/framehost/codecs"
)

// decodeAll decodes what is in the inbox, and hands payloads over to be encoded. With eof it goes on until nothing is
// left. An error means that the session is over.
func (f *flow) decodeAll(eof bool) error {
	f.dropDiscarded()
	if eof && f.discard > 0 {
		f.discard = 0 // the stream ended inside what was to be skipped, and that was reported
		f.keepNoMore()
		return nil
	}
	wanted := 0 // room that a result asked for
	for {
		if !eof && f.tooShort() {
			return nil
		}
		b, err := f.decodeOnce(eof, wanted)
		if err != nil {
			return err
		}
		more, fault, consumed := b.found.More, b.found.Fault, b.found.Consumed
		wanted = b.found.RoomNeeded
		shown, offset, frame := b.shown, b.offset, b.frame+int64(len(b.found.Refs))
		f.take(b)
		if err := f.handOver(b, !more && fault == nil); err != nil {
			return err
		}
		switch {
		case fault != nil:
			done, err := f.violated(fault, shown, consumed, wireViolation(f.direction, offset, frame, fault, shown), eof)
			if done || err != nil {
				return err
			}
		case !more:
			return nil
		}
	}
}

// tooShort is true while a call would be pointless. A need beyond what a frame may take is not waited for.
func (f *flow) tooShort() bool {
	n := f.inbox.len()
	return n == 0 || n < min(f.need, f.inbox.most)
}

// decodeOnce makes one call. The batch that holds its result is handed over or freed by the caller.
func (f *flow) decodeOnce(eof bool, wanted int) (*batch, error) {
	b := newBatch(f.inbox.size())
	if b.paid = f.inbox.paidFrame(); b.paid {
		b.room = max(b.room, min(f.inbox.len(), f.longestBuilt))
	}
	if wanted > b.room {
		if err := b.provide(f.session.ctx, f.session.config.Memory, wanted, f.frameMemory); err != nil {
			b.free(f.session.config.Memory)
			return nil, f.fail(MemoryShort, err)
		}
	}
	b.shown, b.offset, b.frame = f.inbox.bytes(), f.offset, f.counts.framesIn.Load()
	f.decode.Wire, f.decode.EOF, f.decode.State, f.decode.Room = b.shown, eof, f.state, b.room
	err := f.decoder.Decode(f.session.ctx, &f.decode, &b.found)
	f.decode.Wire = nil
	if err == nil {
		if err := b.payFrames(f.session.ctx, f.session.config.Memory); err != nil {
			b.free(f.session.config.Memory)
			return nil, f.fail(MemoryShort, err)
		}
		return b, nil
	}
	b.free(f.session.config.Memory)
	f.wait() // what came before shall arrive
	return nil, f.codecFailed("decode", err)
}

// take makes the result of a call effective for the reader.
func (f *flow) take(b *batch) {
	found := &b.found
	f.state = append(f.state[:0], found.State...)
	f.decode.Examined = found.Examined - found.Consumed
	f.need = found.Need
	f.offset += int64(found.Consumed)
	f.inbox.consume(found.Consumed)
	if found.Consumed > 0 {
		f.frameSpent = 0
	}
	bytes := int64(0)
	for _, r := range found.Refs {
		bytes += int64(r.Len)
	}
	f.counts.framesIn.Add(int64(len(found.Refs)))
	f.counts.payloadBytes.Add(bytes)
	f.counts.empties.Add(int64(found.Skipped))
}

// handOver has b encoded and written: at once, or, while the sender floods, by a goroutine, with the inbox's buffer.
// last says that the decoder is through with that buffer.
func (f *flow) handOver(b *batch, last bool) error {
	if len(b.found.Refs) == 0 {
		b.free(f.session.config.Memory)
		return nil
	}
	<-f.turn
	if f.session.over.Load() {
		b.free(f.session.config.Memory)
		f.turn <- struct{}{}
		return errOver
	}
	if last && f.inbox.flooding {
		if b.buf = f.inbox.detach(); b.buf != nil {
			go f.deliver(b)
			return nil
		}
	}
	return f.deliver(b)
}

// deliver encodes and writes b, which it frees, and passes the turn on.
func (f *flow) deliver(b *batch) error {
	err := f.encodeAll(b)
	b.free(f.session.config.Memory)
	f.turn <- struct{}{}
	return err
}

// violated deals with a fault in shown, of which consumed bytes were taken before it. It is done when decoding does not
// go on here.
func (f *flow) violated(fault *codecs.Fault, shown []byte, consumed int, v *Violation, eof bool) (done bool, err error) {
	f.counts.violations.Add(1)
	truncated := eof && errors.Is(fault.Err, codecs.ErrTruncated)
	v.Skipped = f.session.skips() && (truncated || fault.Resume != codecs.Never)
	f.wait() // the payloads before it arrive first
	f.kept = f.session.report(v)
	if !v.Skipped {
		f.keep(shown[fault.Offset:])
		f.keepNoMore()
		reason := Violated
		if truncated {
			reason = FinMidFrame
		}
		return true, f.fail(reason, v)
	}
	resume := fault.Resume
	if truncated {
		f.counts.droppedTails.Add(1)
		resume = len(shown)
	}
	f.decode.Examined, f.need, f.frameSpent = 0, 0, 0
	// What lies between the bytes taken and the faulty frame is dropped, but belongs to no frame.
	gap := fault.Offset - consumed
	f.drop(gap)
	f.discard = int64(resume - fault.Offset)
	f.dropDiscarded()
	if eof && f.discard > 0 {
		f.discard = 0
		f.keepNoMore()
		return true, nil
	}
	return truncated, nil
}

// dropDiscarded drops what is in the inbox and to be skipped.
func (f *flow) dropDiscarded() {
	n := int(min(f.discard, int64(f.inbox.len())))
	if n > 0 {
		f.keep(f.inbox.bytes()[:n])
		f.drop(n)
		f.discard -= int64(n)
	}
	if f.discard == 0 {
		f.keepNoMore()
	}
}

func (f *flow) drop(n int) {
	f.inbox.consume(n)
	f.offset += int64(n)
	f.counts.bytesSkipped.Add(int64(n))
}

// keep keeps p where the violation at hand has a place for it.
func (f *flow) keep(p []byte) { keep(f.kept, p) }

func (f *flow) keepNoMore() {
	if f.kept != nil {
		f.kept.Close() // its errors are its own affair
		f.kept = nil
	}
}

func keep(w io.Writer, p []byte) {
	if w != nil && len(p) > 0 {
		w.Write(p) // likewise
	}
}

// unrepresentable describes a payload of b that the receiver's framing can't carry.
func (f *flow) unrepresentable(b *batch, index int, fault *codecs.Fault) (v *Violation, payload []byte) {
	ref := b.found.Refs[index]
	v = &Violation{
		Direction: f.direction, Offset: b.offset, At: int64(fault.At), Frame: b.frame + int64(index),
		Err: fault.Err, Want: fault.Want, Skipped: f.session.skips(),
	}
	if from := int(ref.Off); from+int(ref.Len) <= len(b.shown) {
		v.Offset += int64(from)
		payload = b.shown[from : from+int(ref.Len)]
	} else {
		from -= len(b.shown)
		payload = b.found.Data[from : from+int(ref.Len)]
	}
	v.Bytes = append(v.Bytes, payload[fault.At:min(fault.At+excerpt, len(payload))]...)
	return v, payload
}

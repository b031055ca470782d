package relay

import (
	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// decodeAll decodes what is in the inbox, and hands payloads over to be encoded. With eof it goes on until nothing is
// left. An error means that the session is over.
func (r *reception) decodeAll(eof bool) error {
	err := r.decodeOn(eof)
	switch flusher, ok := r.kept.(interface{ Flush() error }); {
	case err != nil || eof || r.discard == 0 && len(r.state) == 0:
		r.keepNoMore()
	case ok:
		_ = flusher.Flush() // its errors are its own affair
	}
	return err
}

func (r *reception) decodeOn(eof bool) error {
	r.dropDiscarded()
	if eof && r.discard > 0 {
		r.discard = 0 // the stream ended inside what was to be skipped, and that was reported
		return nil
	}
	wanted := 0 // room that a result asked for
	for {
		if !eof && r.tooShort() {
			return nil
		}
		b, err := r.decodeOnce(eof, wanted)
		if err != nil {
			return err
		}
		more, fault, consumed, points := b.found.More, b.found.Fault, b.found.Consumed, pointsOf(&b.found)
		wanted = b.found.RoomNeeded
		shown, offset, frame := b.shown, b.offset, b.frame+int64(len(b.found.Refs))
		r.take(b)
		if err := r.owner.handOver(b, !more && fault == nil); err != nil {
			return err
		}
		switch {
		case fault != nil:
			done, err := r.violated(fault, shown, consumed, r.faulty(offset, frame, fault, shown), eof)
			if done || err != nil {
				return err
			}
		case !more:
			return r.rest(points)
		}
		if err := r.rest(points); err != nil {
			return err
		}
	}
}

// faulty describes a fault in shown, which begins at offset in the stream.
func (r *reception) faulty(offset, frame int64, fault *codecs.Fault, shown []byte) *Violation {
	return wireViolation(r.direction, offset, frame, fault, shown, r.longestFrom, r.owner.keeper().wireBytes)
}

// tooShort is true while a call would find nothing. A checked result needs no more than one byte beyond the longest frame,
// for which there is always room.
func (r *reception) tooShort() bool {
	n := r.inbox.len()
	return n == 0 || n < r.need
}

// decodeOnce makes one call. The batch that holds its result is handed over or freed by the caller.
func (r *reception) decodeOnce(eof bool, wanted int) (*batch, error) {
	b := newBatch(r.account, r.inbox.len())
	if wanted > b.room {
		r.owner.wait() // what is being written holds memory, and shall arrive whatever comes of this
		if err := b.decodeInto(r.ctx, r.account, wanted); err != nil {
			b.free(r.account)
			return nil, r.owner.fail(MemoryShort, err)
		}
	}
	b.shown, b.offset, b.frame = r.inbox.bytes(), r.offset, r.counts.framesIn.Load()
	b.state = append(b.state[:0], r.state...)
	r.decode.Wire, r.decode.EOF, r.decode.State, r.decode.Room, r.decode.Need = b.shown, eof, r.state, b.room, r.need
	b.lent = r.inbox.lent()
	r.decode.Lent, r.decode.Borrow, r.decode.RoomNeeded = b.lent, true, wanted
	r.decode.Patient = !eof && r.crumbs.patient()
	r.decode.Skips = 0
	if r.owner.skips() {
		r.decode.Skips = codeccall.MaxSkips
	}
	err := r.decoder.Decode(r.ctx, &r.decode, &b.found)
	r.decode.Wire, r.decode.Lent = nil, nil
	if err == nil {
		b.decoded(r.account)
		return b, nil
	}
	b.free(r.account)
	r.owner.wait() // what came before shall arrive
	return nil, r.owner.codecFailed("decode", err)
}

// take makes the result of a call effective for the reader.
func (r *reception) take(b *batch) {
	found := &b.found
	r.state = append(r.state[:0], found.State...)
	r.decode.Examined = found.Examined - found.Consumed
	r.decode.Left = len(b.shown) - found.Consumed
	r.need = found.Need
	r.crumbs.found(len(found.Refs) + found.Skipped)
	if found.Dropped > 0 {
		r.skip(b.shown[:found.Dropped])
	}
	payloads, dropped := len(found.Refs), found.Dropped // behind the last that was skipped, and up to it
	for i := range found.SkippedFaults {
		f := &found.SkippedFaults[i]
		r.skipped(f, b)
		payloads, dropped = len(found.Refs)-f.Payloads, f.Resume+f.Dropped
	}
	r.keptFor(payloads, found.Consumed, dropped, found.Fault != nil)
	r.offset += int64(found.Consumed)
	r.inbox.consume(found.Consumed)
	if found.Consumed > 0 {
		r.frameSpent = 0
	}
	bytes := int64(0)
	for _, ref := range found.Refs {
		bytes += int64(ref.Len)
	}
	r.counts.framesIn.Add(int64(len(found.Refs)))
	r.counts.payloadBytes.Add(bytes)
	r.counts.empties.Add(int64(found.Skipped))
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

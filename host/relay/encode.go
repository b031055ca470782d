package relay

import "github.com/framehost/framehost/codecs"

// encodeAll encodes the payloads of b and writes their frames. The caller has the turn. An error means that the
// session is over.
func (f *flow) encodeAll(b *batch) error {
	refs := b.found.Refs
	for len(refs) > 0 {
		b.in.Refs = refs
		if err := f.encodeOnce(b); err != nil {
			return err
		}
		refs = refs[b.out.Taken():]
		fault := b.out.Fault
		if fault == nil {
			continue
		}
		index := len(b.found.Refs) - len(refs)
		if err := f.cannotCarry(b, index, fault); err != nil {
			return err
		}
		refs = refs[1:]
	}
	return nil
}

// encodeEnd lets the codec write what ends a stream.
func (f *flow) encodeEnd() error {
	b := newBatch(0)
	defer b.free(f.session.config.Memory)
	b.in.EOF = true
	for {
		if err := f.encodeOnce(b); err != nil || !b.out.More {
			return err
		}
	}
}

// encodeOnce makes one call and writes its result.
func (f *flow) encodeOnce(b *batch) error {
	if wanted := b.out.RoomNeeded; b.out.More && len(b.out.Ends) == 0 && wanted > 2*b.room {
		if err := b.provide(f.session.ctx, f.session.config.Memory, (wanted+1)/2, f.frameMemory); err != nil {
			return f.fail(MemoryShort, err)
		}
	}
	b.in.Wire, b.in.Data, b.in.State = b.shown, b.found.Data, f.encodeState
	b.in.Room = 2 * b.room
	if err := f.encoder.Encode(f.session.ctx, &b.in, &b.out); err != nil {
		return f.codecFailed("encode", err)
	}
	f.encodeState = append(f.encodeState[:0], b.out.State...)
	f.countFrames(b.out.Ends)
	return f.write(b.out.Wire)
}

// countFrames counts the frames that end at ends; one of no bytes is an empty payload that was dropped.
func (f *flow) countFrames(ends []uint32) {
	empty, last := 0, uint32(0)
	for _, end := range ends {
		if end == last {
			empty++
		}
		last = end
	}
	f.counts.framesOut.Add(int64(len(ends) - empty))
	f.counts.empties.Add(int64(empty))
}

// cannotCarry deals with payload index of b, which the receiver's framing refused.
func (f *flow) cannotCarry(b *batch, index int, fault *codecs.Fault) error {
	f.counts.unrepresentable.Add(1)
	v, payload := f.unrepresentable(b, index, fault)
	if w := f.session.report(v); w != nil {
		keep(w, payload)
		w.Close()
	}
	if !v.Skipped {
		return f.fail(Unrepresentable, v)
	}
	return nil
}

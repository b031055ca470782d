package relay

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
		b.room = max(b.room, min(f.inbox.len(), f.longestFrom))
	}
	if wanted > b.room {
		f.wait() // what is being written holds memory, and shall arrive whatever comes of this
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
			f.wait()
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
	f.decode.Left = len(b.shown) - found.Consumed
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
			go func() { _ = f.deliver(b) }() // the reader sees an error as the end of the session
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

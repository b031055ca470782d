package codecs

// Batch is what an Encoder is given. It must not be changed or kept.
type Batch struct {
	Wire, Data []byte // what Refs count through: Wire and, behind it, Data
	Refs       []Ref  // the payloads, in order
	EOF        bool   // these are the last payloads; true in one call only
	State      []byte // what the last call handed back; empty at the start of a stream
}

// Len returns the number of payloads.
func (b *Batch) Len() int { return len(b.Refs) }

// At returns payload i. It is valid during the call, and must not be changed.
func (b *Batch) At(i int) []byte {
	r := b.Refs[i]
	if int(r.Off)+int(r.Len) <= len(b.Wire) {
		return b.Wire[r.Off : r.Off+r.Len : r.Off+r.Len]
	}
	off := int(r.Off) - len(b.Wire)
	return b.Data[off : off+int(r.Len) : off+int(r.Len)]
}

// Frames receives what Encode writes. An Encoder uses it during its call only.
type Frames struct {
	room  int
	wire  []byte
	ends  []uint32
	state []byte
	wants int
}

// Reset prepares f for a call with room for that many bytes. It is for those who run an Encoder: hosts, and tests.
// Memory that f has is used again.
func (f *Frames) Reset(in *Batch, room int) {
	*f = Frames{room: room, wire: f.wire[:0], ends: f.ends[:0], state: append(f.state[:0], in.State...)}
}

// Use makes f build its result in memory of the caller's: wire and ends, as far as their capacities go, up to the next
// Use. It comes before Reset.
func (f *Frames) Use(wire []byte, ends []uint32) { f.wire, f.ends = wire, ends }

// Grow returns a slice with what was written so far, and with room for at least n bytes more. The encoder appends one
// frame to it and hands it to [Frames.Commit]. It fails with ErrNoRoom. A slice that is not committed is simply
// forgotten.
func (f *Frames) Grow(n int) ([]byte, error) {
	if len(f.wire)+n > f.room {
		f.wants = n
		return nil, ErrNoRoom
	}
	f.wire = grow(f.wire, n, f.room)
	return f.wire[: len(f.wire) : len(f.wire)+n], nil
}

// Commit takes one frame: b is what Grow returned, with the frame appended. Appending more than was asked of Grow is
// correct but costs a copy, and fails with ErrNoRoom where there is no room for it.
func (f *Frames) Commit(b []byte) error {
	if err := f.Extend(b); err != nil {
		return err
	}
	f.ends = append(f.ends, uint32(len(f.wire)))
	return nil
}

// Extend takes bytes that end no frame: the beginning of a frame that Commit ends, or what an encoder writes at the end of a
// stream, after its last payload. Otherwise it is as Commit.
func (f *Frames) Extend(b []byte) error {
	if len(b) > f.room {
		f.wants = len(b) - len(f.wire)
		return ErrNoRoom
	}
	if len(b) <= cap(f.wire) && len(b) > 0 && &f.wire[:1][0] == &b[0] {
		b = f.wire[:len(b)] // with all of its capacity, which Grow had hidden
	}
	f.wire = b
	return nil
}

// Skip takes an empty payload for which nothing is written, and counts it. Of any other, a frame or a fault must come.
func (f *Frames) Skip() { f.ends = append(f.ends, uint32(len(f.wire))) }

// SetState replaces the state that the next call will be given; see Batch.State. s is copied.
// It panics when s is longer than MaxState.
func (f *Frames) SetState(s []byte) { f.state = setState(f.state, s) }

// Wire returns the bytes written.
func (f *Frames) Wire() []byte { return f.wire }

// Ends returns, for each payload taken, where its frame ends in Wire. A frame of no bytes was skipped.
func (f *Frames) Ends() []uint32 { return f.ends }

// State returns the state for the next call.
func (f *Frames) State() []byte { return f.state }

// RoomNeeded returns the number of bytes that the call that failed with ErrNoRoom asked for.
func (f *Frames) RoomNeeded() int { return f.wants }

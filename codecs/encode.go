package codecs

// Batch is the input of an Encoder, which must not change or keep it.
type Batch struct {
	Wire, Data []byte // Refs are positions in Wire followed by Data
	Refs       []Ref  // the payloads, in order
	EOF        bool   // these are the last payloads; true in one call only
	State      []byte // the state that the last call returned; empty at the start of a stream
}

// Len returns the number of payloads.
func (b *Batch) Len() int { return len(b.Refs) }

// At returns payload i. It is valid during the call; the caller must not change it.
func (b *Batch) At(i int) []byte {
	r := b.Refs[i]
	if int(r.Off)+int(r.Len) <= len(b.Wire) {
		return b.Wire[r.Off : r.Off+r.Len : r.Off+r.Len]
	}
	off := int(r.Off) - len(b.Wire)
	return b.Data[off : off+int(r.Len) : off+int(r.Len)]
}

// Frames collects the output of Encode. An Encoder uses it during its call only.
type Frames struct {
	room  int
	wire  []byte
	ends  []uint32
	state []byte
	wants int
}

// Reset prepares f for a call with room for that many bytes, and reuses the memory of f. It is for callers of an
// Encoder: hosts, and tests.
func (f *Frames) Reset(in *Batch, room int) {
	*f = Frames{room: room, wire: f.wire[:0], ends: f.ends[:0], state: append(f.state[:0], in.State...)}
}

// Use makes f build its results in the caller's memory, until the next Use: in wire and ends, as long as their
// capacities suffice. Call it before Reset.
func (f *Frames) Use(wire []byte, ends []uint32) { f.wire, f.ends = wire, ends }

// Grow returns a slice that holds the bytes written so far and has room for at least n more. The encoder appends one
// frame to it and passes it to [Frames.Commit]. Grow fails with ErrNoRoom. A slice that is never committed has no effect.
func (f *Frames) Grow(n int) ([]byte, error) {
	if len(f.wire)+n > f.room {
		f.wants = n
		return nil, ErrNoRoom
	}
	f.wire = grow(f.wire, n, f.room)
	return f.wire[: len(f.wire) : len(f.wire)+n], nil
}

// Commit adds one frame: b is the slice that Grow returned, with the frame appended. An encoder may append more than it
// asked of Grow, but that costs a copy, and fails with ErrNoRoom if there is no room for it.
func (f *Frames) Commit(b []byte) error {
	if err := f.Extend(b); err != nil {
		return err
	}
	f.ends = append(f.ends, uint32(len(f.wire)))
	return nil
}

// Extend adds bytes that end no frame: the beginning of a frame that Commit ends, or the bytes that an encoder writes at
// the end of a stream, after its last payload. Otherwise it works like Commit.
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

// Skip takes an empty payload for which nothing is written, and counts it. For any other payload the encoder must write
// a frame or return a fault.
func (f *Frames) Skip() { f.ends = append(f.ends, uint32(len(f.wire))) }

// SetState replaces the state that the next call receives; see Batch.State. It copies s.
// It panics if s is longer than MaxState.
func (f *Frames) SetState(s []byte) { f.state = setState(f.state, s) }

// Wire returns the bytes written.
func (f *Frames) Wire() []byte { return f.wire }

// Ends returns, for each payload taken, where its frame ends in Wire. An empty frame belongs to a payload that was skipped.
func (f *Frames) Ends() []uint32 { return f.ends }

// State returns the state for the next call.
func (f *Frames) State() []byte { return f.state }

// RoomNeeded returns the number of bytes that were requested when the call failed with ErrNoRoom.
func (f *Frames) RoomNeeded() int { return f.wants }

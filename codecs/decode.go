package codecs

import "fmt"

// Wire is the input of a Decoder, which must not change or keep it.
type Wire struct {
	Bytes    []byte // received and not consumed yet
	Examined int    // how many of Bytes an earlier call has already searched; 0..len(Bytes)
	EOF      bool   // no more bytes will follow
	State    []byte // the state that the last call returned; empty at the start of a stream
	MaxFrame int    // the longest payload to accept, in bytes
}

// A Ref is the place of a payload: Len bytes at Off, a position in the wire followed by the bytes that were built. A
// payload lies in one of the two, never across both.
type Ref struct{ Off, Len uint32 }

// Payloads collects the payloads that Decode finds. A Decoder uses it during its call only.
type Payloads struct {
	in       Wire
	whole    []byte // the bytes shown to the first call of the result; in.Bytes is its tail
	begin    int    // where in.Bytes begin in whole
	room     int
	refs     []Ref
	data     []byte
	need     int
	examined int
	skipped  int
	dropped  int
	state    []byte
	given    []byte // the state passed to a call that GoOn prepared
	wants    int
}

// Reset prepares p for a call that is shown in, and reuses the memory of p. room is the number of bytes of payloads
// that may be built; payloads that Refer delivers need none. Reset is for callers of a Decoder: hosts, and tests.
func (p *Payloads) Reset(in Wire, room int) {
	*p = Payloads{
		in: in, whole: in.Bytes, room: room, refs: p.refs[:0], data: p.data[:0],
		state: append(p.state[:0], in.State...), given: p.given[:0],
	}
}

// GoOn prepares p for another call that adds to the same result, and returns the input of that call: the bytes that
// [Payloads.Reset] was given, from position at on, with nothing examined, and the state that was set last. Positions
// of that call count from at, but Refs still counts from the first byte that Reset was given. GoOn is for callers of a
// Decoder.
func (p *Payloads) GoOn(at int) Wire {
	p.given = append(p.given[:0], p.state...)
	p.begin, p.in.Bytes, p.in.State, p.in.Examined = at, p.whole[at:], p.given, 0
	p.need, p.examined, p.dropped, p.wants = 0, 0, 0, 0
	return p.in
}

// Use makes p build its results in the caller's memory, until the next Use: in refs and data, as long as their
// capacities suffice. Call it before Reset.
func (p *Payloads) Use(refs []Ref, data []byte) { p.refs, p.data = refs, data }

// Refer adds the payload that stands at in.Bytes[from:to], without copying it. It fails with ErrTooLong or ErrNoRoom.
func (p *Payloads) Refer(from, to int) error {
	if from < 0 || to < from || to > len(p.in.Bytes) {
		panic(fmt.Sprintf("codecs: Refer(%d, %d) of %d bytes", from, to, len(p.in.Bytes)))
	}
	if to-from > p.in.MaxFrame {
		return ErrTooLong
	}
	if len(p.refs) == MaxPayloads {
		return ErrNoRoom
	}
	p.refs = append(p.refs, Ref{uint32(p.begin + from), uint32(to - from)})
	return nil
}

// Append adds a copy of payload. It fails with ErrTooLong or ErrNoRoom.
func (p *Payloads) Append(payload []byte) error {
	if len(payload) > p.in.MaxFrame {
		return ErrTooLong
	}
	b, err := p.Grow(len(payload))
	if err != nil {
		return err
	}
	return p.Commit(append(b, payload...))
}

// Grow returns an empty slice with room for at least n bytes, in which the decoder can build a payload for
// [Payloads.Commit]. If the payload's length is not known yet, n is its greatest possible length; Grow reserves no more
// than the limit for a payload. It fails with ErrNoRoom. A slice that is never committed has no effect.
func (p *Payloads) Grow(n int) ([]byte, error) {
	n = min(n, p.in.MaxFrame)
	if len(p.refs) == MaxPayloads {
		return nil, ErrNoRoom
	}
	if len(p.data)+n > p.room {
		p.wants = n
		return nil, ErrNoRoom
	}
	p.data = grow(p.data, n, p.room)
	return p.data[len(p.data) : len(p.data) : len(p.data)+n], nil
}

// Commit adds the payload that was built in the slice that the last Grow returned. It fails with ErrTooLong if the
// payload exceeds the limit. A decoder may append more than it asked of Grow, but that costs a copy, and fails with
// ErrNoRoom if there is no room for it.
func (p *Payloads) Commit(payload []byte) error {
	n := len(payload)
	if n > p.in.MaxFrame {
		return ErrTooLong
	}
	off := len(p.data)
	if n > 0 && (off+n > cap(p.data) || &p.data[:off+1][off] != &payload[0]) {
		b, err := p.Grow(n)
		if err != nil {
			return err
		}
		copy(b[:n], payload)
	}
	p.data = p.data[:off+n]
	p.refs = append(p.refs, Ref{uint32(len(p.whole) + off), uint32(n)})
	return nil
}

// Skip counts an empty frame that is dropped instead of delivered.
func (p *Payloads) Skip() { p.skipped++ }

// Drop declares that in.Bytes[:n] belong to a frame whose fault an earlier call reported: the decoder is in the state
// in which it discards the rest of that frame, as it arrives. Those bytes must be consumed, and no payload may lie in
// them. Hosts count them as skipped, and keep them if they keep faulty frames.
func (p *Payloads) Drop(n int) { p.dropped = n }

// SetExamined declares that in.Bytes[:n] need not be searched again. n is at least the number of bytes consumed. It
// matters only while a frame is unfinished.
func (p *Payloads) SetExamined(n int) { p.examined = n }

// SetNeed declares that a call that is shown fewer than n of the bytes left unconsumed finds nothing, except, at the end
// of the stream, that the frame is truncated. The caller waits for n bytes. An n that is too large delays frames for
// ever, and so breaks the contract; so does an n greater than the longest wire of a frame (see [Sizer]) plus one byte,
// because such a frame is too long. SetNeed has no effect in a call that returns an error. 0: not known.
func (p *Payloads) SetNeed(n int) { p.need = n }

// SetState replaces the state that the next call receives; see Wire.State. It copies s.
// It panics if s is longer than MaxState.
func (p *Payloads) SetState(s []byte) { p.state = setState(p.state, s) }

// Len returns the number of payloads added.
func (p *Payloads) Len() int { return len(p.refs) }

// At returns payload i. It is valid until the next Reset.
func (p *Payloads) At(i int) []byte {
	r := p.refs[i]
	if int(r.Off)+int(r.Len) <= len(p.whole) {
		return p.whole[r.Off : r.Off+r.Len : r.Off+r.Len]
	}
	off := int(r.Off) - len(p.whole)
	return p.data[off : off+int(r.Len) : off+int(r.Len)]
}

// Refs returns the places of the payloads: in the wire, or after it in [Payloads.Data].
func (p *Payloads) Refs() []Ref { return p.refs }

// Data returns the bytes of the payloads that were built.
func (p *Payloads) Data() []byte { return p.data }

// Skipped returns how many times Skip was called.
func (p *Payloads) Skipped() int { return p.skipped }

// Dropped returns the number that Drop declared.
func (p *Payloads) Dropped() int { return p.dropped }

// State returns the state for the next call.
func (p *Payloads) State() []byte { return p.state }

// Examined returns the number that SetExamined declared.
func (p *Payloads) Examined() int { return p.examined }

// Need returns the number that SetNeed declared.
func (p *Payloads) Need() int { return p.need }

// RoomNeeded returns the number of bytes that were requested when the call failed with ErrNoRoom; 0 if the call failed
// because the result holds MaxPayloads payloads.
func (p *Payloads) RoomNeeded() int { return p.wants }

// grow returns b with room for n more bytes. Its capacity is at most most, unless b and n need more.
func grow(b []byte, n, most int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	size := min(max(2*cap(b), len(b)+n, 512), max(most, len(b)+n))
	return append(make([]byte, 0, size), b...)
}

func setState(old, s []byte) []byte {
	if len(s) > MaxState {
		panic(fmt.Sprintf("codecs: state of %d bytes, more than %d", len(s), MaxState))
	}
	return append(old[:0], s...)
}

package codecs

import "fmt"

// Wire is what a Decoder is shown. It must not be changed or kept.
type Wire struct {
	Bytes    []byte // received and not consumed yet
	Examined int    // how many of Bytes an earlier call searched already; 0..len(Bytes)
	EOF      bool   // no more bytes will follow
	State    []byte // what the last call handed back; empty at the start of a stream
	MaxFrame int    // the longest payload to accept, in bytes
}

// A Ref is a payload of a result: Len bytes at Off, counted through the wire and, behind it, the bytes that were
// appended. A payload lies in one of the two, never across.
type Ref struct{ Off, Len uint32 }

// Payloads receives what Decode finds. A Decoder uses it during its call only.
type Payloads struct {
	in       Wire
	whole    []byte // what the first call of the result was shown; in.Bytes are its end
	begin    int    // where in.Bytes begin in whole
	room     int
	refs     []Ref
	data     []byte
	need     int
	examined int
	skipped  int
	dropped  int
	state    []byte
	given    []byte // the state of a call that GoOn prepared
	wants    int
}

// Reset prepares p for a call that is shown in, with room for that many bytes of payloads that are built rather than
// referred to. It is for those who run a Decoder: hosts, and tests. Memory that p has is used again.
func (p *Payloads) Reset(in Wire, room int) {
	*p = Payloads{
		in: in, whole: in.Bytes, room: room, refs: p.refs[:0], data: p.data[:0],
		state: append(p.state[:0], in.State...), given: p.given[:0],
	}
}

// GoOn prepares p for a further call that adds to the same result, and returns what that call is shown: the bytes from at
// on of what [Payloads.Reset] was given, of which nothing is examined, and the state that was handed back last. Positions
// of that call count from there, but for those of the payloads that were taken. It is for those who run a Decoder.
func (p *Payloads) GoOn(at int) Wire {
	p.given = append(p.given[:0], p.state...)
	p.begin, p.in.Bytes, p.in.State, p.in.Examined = at, p.whole[at:], p.given, 0
	p.need, p.examined, p.dropped, p.wants = 0, 0, 0, 0
	return p.in
}

// Use makes p build its result in memory of the caller's: refs and data, as far as their capacities go, up to the next
// Use. It comes before Reset.
func (p *Payloads) Use(refs []Ref, data []byte) { p.refs, p.data = refs, data }

// Refer takes the payload that stands at in.Bytes[from:to], without copying it. It fails with ErrTooLong or ErrNoRoom.
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

// Append takes a copy of payload. It fails with ErrTooLong or ErrNoRoom.
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

// Grow returns an empty slice with room for at least n bytes, in which a payload can be built that [Payloads.Commit]
// then takes. Where the payload's length is not known yet, n is its greatest possible length; more than the limit for a
// payload is not set aside. It fails with ErrNoRoom. A slice that is not committed is simply forgotten.
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

// Commit takes the payload that was built in the slice that the last Grow returned. It fails with ErrTooLong when more
// was appended than the limit allows. Appending more than was asked of Grow is correct but costs a copy, and fails with
// ErrNoRoom where there is no room for it.
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

// Skip counts an empty frame that is dropped rather than delivered.
func (p *Payloads) Skip() { p.skipped++ }

// Drop declares that in.Bytes[:n] are the rest of a frame, as far as it has arrived, of which an earlier call reported a
// fault: the decoder is in the state in which it discards that frame. Those bytes are consumed and no payload lies in
// them. Hosts count them as skipped, and keep them where faulty frames are kept.
func (p *Payloads) Drop(n int) { p.dropped = n }

// SetExamined declares that in.Bytes[:n] need not be searched again. It only matters while a frame is unfinished, and
// is at least what was consumed.
func (p *Payloads) SetExamined(n int) { p.examined = n }

// SetNeed declares that a call which is shown fewer than n bytes of what is left unconsumed finds nothing, except, at the
// end of the stream, that the frame is truncated. The caller then waits for n bytes: a greater n than is true delays frames
// for ever, so it breaks the contract, as does one beyond the longest wire of a frame (see [Sizer]) and a byte: such a frame
// is too long.
// It does not matter in a call that returns an error. 0: not known.
func (p *Payloads) SetNeed(n int) { p.need = n }

// SetState replaces the state that the next call will be given; see Wire.State. s is copied.
// It panics when s is longer than MaxState.
func (p *Payloads) SetState(s []byte) { p.state = setState(p.state, s) }

// Len returns the number of payloads taken.
func (p *Payloads) Len() int { return len(p.refs) }

// At returns payload i of those taken. It is valid until the next Reset.
func (p *Payloads) At(i int) []byte {
	r := p.refs[i]
	if int(r.Off)+int(r.Len) <= len(p.whole) {
		return p.whole[r.Off : r.Off+r.Len : r.Off+r.Len]
	}
	off := int(r.Off) - len(p.whole)
	return p.data[off : off+int(r.Len) : off+int(r.Len)]
}

// Refs returns where the payloads are: in the wire, or behind it in [Payloads.Data].
func (p *Payloads) Refs() []Ref { return p.refs }

// Data returns the bytes of payloads that were built rather than referred to.
func (p *Payloads) Data() []byte { return p.data }

// Skipped returns how often Skip was called.
func (p *Payloads) Skipped() int { return p.skipped }

// Dropped returns what Drop declared.
func (p *Payloads) Dropped() int { return p.dropped }

// State returns the state for the next call.
func (p *Payloads) State() []byte { return p.state }

// Examined returns what SetExamined declared.
func (p *Payloads) Examined() int { return p.examined }

// Need returns what SetNeed declared.
func (p *Payloads) Need() int { return p.need }

// RoomNeeded returns the number of bytes that the call that failed with ErrNoRoom asked for; 0 where it was not bytes
// that were short.
func (p *Payloads) RoomNeeded() int { return p.wants }

// grow returns b with room for n more bytes, of which no more than most bytes are taken in all.
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

package escape

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/framehost/framehost/codecs"
)

// Decode implements codecs.Decoder.
func (f *framing) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	if len(in.State) > 0 {
		end, state, found := f.machine.discard(in.Bytes, 0, len(in.Bytes), f.stateFrom(in.State))
		out.Drop(end)
		if !found && !in.EOF {
			out.SetState(stateBytes(state))
			return end, nil
		}
		out.SetState(nil)
		pos = end
	}
	d := decoding{framing: f, out: out, in: &in, maxWire: f.MaxWire(in.MaxFrame), stops: f.machine.stops.cursor(), escaped: -1}
	if f.flat {
		d.escaped = len(in.Bytes)
	}
	for {
		if f.runs && pos >= in.Examined {
			pos = d.run(pos)
		}
		for pos < len(in.Bytes) && f.ignore.has[in.Bytes[pos]] {
			pos++
		}
		if pos == len(in.Bytes) {
			return pos, nil
		}
		next, err := d.frame(pos)
		if err != nil || next == pos {
			return pos, err
		}
		pos = next
	}
}

// decoding is the state of one call of Decode.
type decoding struct {
	*framing
	out     *codecs.Payloads
	in      *codecs.Wire
	maxWire int
	stops   cursor
	escaped int // for run: position of the next escape; not known if run is past it
}

// frame reads the frame that begins at begin, and returns where the next frame begins, or begin if this one is unfinished.
func (d *decoding) frame(begin int) (next int, err error) {
	// Bytes beyond the longest frame can't matter, and are not read.
	wire := d.in.Bytes[:begin+min(len(d.in.Bytes)-begin, d.maxWire)]
	over := len(wire) < len(d.in.Bytes)
	body, begun := begin, true
	if d.start != "" {
		if body, begun = d.begin(wire, begin); !begun && body < len(wire) {
			return begin, d.fault(begin, begin, body, codecs.ErrMalformed, d.wantStart())
		}
	}
	r := reading{kind: unfinished, at: len(wire)}
	if begun {
		r = d.read(wire, body, over)
	}
	switch {
	case r.kind == ended:
		return d.deliver(begin, body, r.body, r.payload, r.at+1, r.at)
	case r.kind == aborted:
		return r.at + 1, nil
	case r.kind == broken:
		return begin, d.fault(begin, body, r.at, codecs.ErrMalformed, d.machine.states[r.state].want)
	case r.kind == tooLong:
		return begin, d.fault(begin, body, r.at, codecs.ErrTooLong, wantAtMost(d.in.MaxFrame))
	case over && begun:
		return begin, d.fault(begin, body, len(wire), codecs.ErrTooLong, wantWire(d.maxWire))
	case over:
		return begin, d.fault(begin, begin, len(wire), codecs.ErrTooLong, wantWire(d.maxWire))
	case d.in.EOF:
		return d.tail(begin, body, begun, r)
	case begun:
		d.out.SetExamined(d.machine.restart(wire, body, r.state))
	}
	return begin, nil
}

// begin reads start at the front of a frame, and returns its end and true. If a byte is wrong or missing, begin returns the
// position of that byte and false.
func (d *decoding) begin(wire []byte, pos int) (int, bool) {
	for i := range len(d.start) {
		for pos < len(wire) && d.ignore.has[wire[pos]] {
			pos++
		}
		if pos == len(wire) || wire[pos] != d.start[i] {
			return pos, false
		}
		pos++
	}
	return pos, true
}

// read reads the body. over means that the frame is longer than it may be, and that wire is cut there.
//
// Of the bytes that an earlier call has searched, the number of payload bytes is not known, except if all of them are
// payload. So a payload that is too long is noticed only when something else happens too: the frame ends, a violation
// occurs, the stream ends, or the frame is longer than any may be. Then read reads the whole frame again, to find what was
// wrong first. The result does not depend on how much was searched before.
func (d *decoding) read(wire []byte, body int, over bool) reading {
	m, most := d.machine, d.in.MaxFrame
	from := min(max(body, d.in.Examined), len(wire))
	if d.flat {
		return m.read(wire, from, m.first, from-body, most, &d.stops)
	}
	if from == body {
		r := m.read(wire, body, m.first, 0, most, &d.stops)
		if r.kind != tooLong {
			return r
		}
		d.stops = m.stops.cursor()
	}
	r := m.read(wire, from, m.stateAt(wire, body, from), 0, math.MaxInt, &d.stops)
	if r.kind == unfinished && !over && !d.in.EOF {
		return r
	}
	d.stops = m.stops.cursor()
	return m.read(wire, body, m.first, 0, most, &d.stops)
}

// deliver delivers the payload of a frame: it has that many bytes, its body is at body to end, and the frame ended at at.
func (d *decoding) deliver(begin, body, end, payload, next, at int) (int, error) {
	switch {
	case payload == 0 && d.empty == codecs.EmptySkip:
		d.out.Skip()
		return next, nil
	case payload == 0 && d.empty == codecs.EmptyRefuse:
		return begin, &codecs.Fault{
			Offset: begin, At: at, Err: codecs.ErrMalformed, Want: "a payload of at least 1 byte", Resume: next,
		}
	case payload == 0:
		return next, d.out.Refer(body, body)
	case payload == end-body:
		return next, d.out.Refer(body, end)
	}
	b, err := d.out.Grow(payload)
	if err != nil {
		return begin, err
	}
	return next, d.out.Commit(d.style.unstuff(b, d.in.Bytes[body:end]))
}

// tail handles the end of the stream inside the frame at begin. r is the reading of that frame.
func (d *decoding) tail(begin, body int, begun bool, r reading) (int, error) {
	end := len(d.in.Bytes)
	fault := &codecs.Fault{
		Offset: begin, At: end, Err: codecs.ErrTruncated,
		Want: "the terminator " + codecs.Bytes(d.terminator).String(), Resume: end,
	}
	switch {
	case !begun:
		fault.Want = d.wantStart()
	case !d.machine.states[r.state].whole:
		if want := d.machine.states[r.state].want; want != "" {
			fault.Want = want
		}
	case d.deliverTail && r.payload > d.in.MaxFrame:
		fault.Err, fault.Want = codecs.ErrTooLong, wantAtMost(d.in.MaxFrame)
	case d.deliverTail:
		return d.deliver(begin, body, end, r.payload, end, end)
	}
	return begin, fault
}

// fault returns the fault of a frame that is given up, and sets the state in which the rest of the frame is discarded. That
// rest begins at position from.
func (d *decoding) fault(begin, from, at int, err error, want string) *codecs.Fault {
	end, state, found := d.machine.discard(d.in.Bytes[:at+1], from, at+1, d.machine.first)
	if !found {
		d.out.SetState(stateBytes(state))
	}
	return &codecs.Fault{Offset: begin, At: at, Err: err, Want: want, Resume: end}
}

func (d *decoding) wantStart() string { return codecs.Bytes(d.start).String() + " at a frame's start" }

// stateBytes returns the codec's state while a frame is being discarded: the state of the machine. At the start of a frame
// the codec has no state.
func stateBytes(s uint16) []byte { return binary.BigEndian.AppendUint16(nil, s) }

// stateFrom reads the bytes that stateBytes returned. Any other bytes only mean that a frame is being discarded.
func (f *framing) stateFrom(b []byte) uint16 {
	if len(b) != 2 || int(binary.BigEndian.Uint16(b)) >= len(f.machine.states) {
		return f.machine.first
	}
	return binary.BigEndian.Uint16(b)
}

func wantAtMost(maxFrame int) string { return fmt.Sprintf("a payload of at most %d bytes", maxFrame) }

func wantWire(maxWire int) string { return fmt.Sprintf("a frame of at most %d bytes", maxWire) }

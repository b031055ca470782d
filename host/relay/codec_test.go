package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// lines ends each payload with a newline. "!" at the start of a frame is a violation. Decoding resumes eight bytes later, or never if
// the frame starts with "!!". With dot set, the stream ends with a dot.
type lines struct{ dot bool }

func (lines) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (l lines) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	for {
		if rest := in.Bytes[begin:]; len(rest) > 1 && rest[0] == '!' {
			f := &codecs.Fault{Offset: begin, At: begin, Err: codecs.ErrMalformed, Want: "no bang", Resume: codecs.Never}
			if rest[1] != '!' {
				f.Resume = begin + 8 // a faulty frame has eight bytes
			}
			return begin, f
		}
		i := bytes.IndexByte(in.Bytes[from:], '\n')
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a newline", Resume: len(in.Bytes)}
			}
			return begin, nil
		}
		if err := out.Refer(begin, from+i); err != nil {
			return begin, err
		}
		begin, from = from+i+1, from+i+1
	}
}

func (l lines) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, '\n'); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no newline"}
		}
		wire, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, payload...), '\n')); err != nil {
			return i, err
		}
	}
	if in.EOF && l.dot {
		wire, err := out.Grow(1)
		if err != nil {
			return in.Len(), err
		}
		if err := out.Extend(append(wire, '.')); err != nil {
			return in.Len(), err
		}
	}
	return in.Len(), nil
}

// counted writes a length of four bytes before each payload. With built, it flips the bits of each payload, so payloads are not parts
// of the wire. With numbered, each frame also has a byte that counts the stream's frames; the count is the codec's state.
type counted struct{ built, numbered bool }

func (c counted) header() int {
	if c.numbered {
		return 5
	}
	return 4
}

func (c counted) MaxWire(maxFrame int) int { return maxFrame + c.header() }
func (c counted) UsesState() bool          { return c.numbered }

func next(state []byte) byte {
	if len(state) == 0 {
		return 0
	}
	return state[0] + 1
}

func (c counted) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos, state := 0, in.State
	for {
		rest := in.Bytes[pos:]
		if len(rest) == 0 {
			return pos, nil
		}
		whole := c.header()
		if len(rest) >= whole {
			n := int(binary.BigEndian.Uint32(rest))
			if n > in.MaxFrame {
				return pos, &codecs.Fault{Offset: pos, At: pos, Err: codecs.ErrTooLong, Want: "less", Resume: codecs.Never}
			}
			if whole += n; c.numbered && rest[4] != next(state) {
				return pos, &codecs.Fault{Offset: pos, At: pos + 4, Err: codecs.ErrMalformed, Want: "the next number", Resume: codecs.Never}
			}
		}
		if len(rest) < whole {
			out.SetNeed(whole)
			if in.EOF {
				return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "more", Resume: len(in.Bytes)}
			}
			return pos, nil
		}
		var err error
		if c.built {
			var b []byte
			if b, err = out.Grow(whole - c.header()); err == nil {
				err = out.Commit(flip(b, rest[c.header():whole]))
			}
		} else {
			err = out.Refer(pos+c.header(), pos+whole)
		}
		if err != nil {
			return pos, err
		}
		if c.numbered {
			state = []byte{next(state)}
			out.SetState(state)
		}
		pos += whole
	}
}

func (c counted) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	state := in.State
	for i := range in.Len() {
		payload := in.At(i)
		b, err := out.Grow(len(payload) + c.header())
		if err != nil {
			return i, err
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		if c.numbered {
			state = []byte{next(state)}
			b = append(b, state[0])
		}
		if c.built {
			b = flip(b, payload)
		} else {
			b = append(b, payload...)
		}
		if err := out.Commit(b); err != nil {
			return i, err
		}
		if c.numbered {
			out.SetState(state)
		}
	}
	return in.Len(), nil
}

func flip(dst, p []byte) []byte {
	for _, c := range p {
		dst = append(dst, ^c)
	}
	return dst
}

// wire returns the frames of payloads.
func wire(t testing.TB, f codecs.Framing, payloads ...[]byte) []byte {
	t.Helper()
	var runner codeccall.Runner
	var state, all []byte
	for _, p := range payloads {
		in := codeccall.Encode{Data: p, Refs: []codecs.Ref{{Len: uint32(len(p))}}, State: state, Room: 2*len(p) + 4096}
		var out codeccall.Encoded
		if err := runner.Encode(f, &in, &out); err != nil || out.Fault != nil {
			t.Fatalf("encode: %v, %v", err, out.Fault)
		}
		all, state = append(all, out.Wire...), bytes.Clone(out.State)
	}
	return all
}

type noOptions struct{}

// codec returns a codec of f with a limit for payloads.
func codec(t testing.TB, f codecs.Framing, maxFrame int) codeccall.Codec {
	t.Helper()
	plain := codecs.New(codecs.Info{Name: "test"}, noOptions{}, func(*noOptions, int) (codecs.Framing, error) { return f, nil })
	c, err := codeccall.Configure(plain, nil, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// failing is a codec whose calls fail after left calls.
type failing struct {
	codeccall.Codec
	left int
}

type failingDirection struct {
	codeccall.Direction
	left int
}

func (f *failing) Open() codeccall.Direction { return &failingDirection{f.Codec.Open(), f.left} }

func (d *failingDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	if d.left--; d.left < 0 {
		return errors.Join(codeccall.ErrCodecFailed, errors.New("no process"))
	}
	return d.Direction.Decode(ctx, in, out)
}

// Package base64 is the codec for payloads written in 64 harmless characters, as in RFC 4648:
//
//	digits padding terminator                   wrap 0: one line
//	digits line_end digits … padding terminator  wrap n: n characters a line, as in MIME (RFC 2045) and PEM
//
// Without a terminator a frame ends at the end of its datagram.
//
// # One wire, one payload, and back
//
// With strict, the default, a payload has exactly one text (two with optional padding), and the decoder accepts no other.
// Trailing bits are zero. Each line but the last has exactly the length of wrap, and the last has one to that many
// characters. There is nothing between the digits, not even CR or LF, which many decoders skip.
//
// Without strict the decoder ignores trailing bits, and skips CR, LF and the bytes of line_end wherever they stand, so
// that lines may have any length. A text may have as many skipped bytes as the text of the longest payload has digits and
// padding, or as the encoder writes there, if that is more; beyond that it is too long. With and without strict, padding
// follows its option, and any other byte is malformed. strict does not affect the encoder.
//
// # Faults
//
// A malformed frame has its fault at the first byte with which no valid text begins: an invalid byte, a digit after the
// padding, the digit with trailing bits, or the end of an incomplete text. A frame is too long at the first digit beyond
// the longest payload, or at the first byte beyond the longest text. If a frame's terminator has not arrived, the decoder
// does not check the frame until it must: when the frame ends, or is certain to be too long.
//
// Decoding can always go on after the terminator. If the terminator has not arrived, the decoder sets a state, and discards
// the bytes up to the terminator. Later frames do not depend on that state.
package base64

import (
	"bytes"

	"github.com/framehost/framehost/codecs"
)

// Codec is the base64 codec.
var Codec = codecs.New(codecs.Info{
	Name:         "base64",
	Version:      "1.0.0",
	Description:  "each payload as base64 text, which a terminator ends",
	StateVersion: 1,
}, Options{
	Alphabet: "std", Padding: PaddingRequired, Terminator: "\n", LineEnd: "\r\n", Strict: true, Empty: codecs.EmptyDeliver,
}, configure)

// A framing is checked Options, in the form that the codec uses.
type framing struct {
	text       text
	maxFrame   int
	terminator []byte // empty: the end of the wire ends the frame
	empty      codecs.Empty
}

// discarding is the state of a decoder between a fault and the next terminator.
var discarding = []byte{1}

func (f *framing) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	if len(in.State) > 0 {
		end, found := f.discard(in)
		out.Drop(end)
		if !found {
			return end, nil
		}
		out.SetState(nil)
		pos = end
	}
	// A terminator that begins after the longest text does not count, so that the length of a frame does not depend on the cuts.
	longest := f.text.longest(f.maxFrame)
	window := longest + max(1, len(f.terminator))
	for pos < len(in.Bytes) {
		shown := in.Bytes[:pos+min(len(in.Bytes)-pos, window)]
		end, ended := f.end(in, shown, pos)
		switch {
		case ended:
			if err := f.decodeText(out, in, pos, end); err != nil {
				return pos, err
			}
			pos = end + len(f.terminator)
		case len(shown)-pos == window:
			// Wherever the text ends, it is too long.
			wrong, _ := f.text.explain(shown[pos:], f.maxFrame, false)
			out.SetState(discarding)
			return pos, wrong.fault(pos, pos+longest+1)
		case in.EOF:
			return pos, f.truncated(in.Bytes, pos)
		default:
			out.SetExamined(max(pos, len(shown)-max(1, len(f.terminator))+1))
			return pos, nil
		}
	}
	return pos, nil
}

// end returns where the text at pos ends, and whether that is within the bytes shown.
func (f *framing) end(in codecs.Wire, shown []byte, pos int) (end int, ended bool) {
	from := min(max(pos, in.Examined), len(shown))
	switch len(f.terminator) {
	case 0:
		return len(shown), in.EOF && len(shown) == len(in.Bytes)
	case 1:
		end = bytes.IndexByte(shown[from:], f.terminator[0])
	default:
		end = bytes.Index(shown[from:], f.terminator)
	}
	return from + end, end >= 0
}

// decodeText decodes the text from pos to end, and delivers it.
func (f *framing) decodeText(out *codecs.Payloads, in codecs.Wire, pos, end int) error {
	written := in.Bytes[pos:end]
	digits, ok := f.text.digits(written)
	switch size := decodedLen(digits); {
	case ok && digits == 0 && f.empty == codecs.EmptySkip:
		out.Skip()
		return nil
	case ok && digits == 0 && f.empty == codecs.EmptyRefuse:
		return mistake{at: end - pos, err: codecs.ErrMalformed, want: wantNotEmpty}.fault(pos, end+len(f.terminator))
	case ok && digits == 0:
		return out.Refer(pos, pos)
	case ok && size <= f.maxFrame:
		payload, err := out.Grow(size)
		if err != nil {
			return err
		}
		if payload = payload[:size]; f.text.decode(payload, written, digits) {
			return out.Commit(payload)
		}
	}
	wrong, _ := f.text.explain(written, f.maxFrame, true)
	return wrong.fault(pos, end+len(f.terminator))
}

// truncated returns the fault of the frame at pos, whose terminator is not in wire when the stream ends.
func (f *framing) truncated(wire []byte, pos int) *codecs.Fault {
	wrong, found := f.text.explain(wire[pos:], f.maxFrame, false)
	if found && !bytes.HasPrefix(f.terminator, wire[pos+wrong.at:]) {
		return wrong.fault(pos, len(wire))
	}
	return &codecs.Fault{Offset: pos, At: len(wire), Err: codecs.ErrTruncated, Want: f.wantTerminator(), Resume: len(wire)}
}

// discard searches for the terminator of a faulty frame. If it is not found, the bytes before end can be dropped.
func (f *framing) discard(in codecs.Wire) (end int, found bool) {
	if len(f.terminator) > 0 {
		if i := bytes.Index(in.Bytes, f.terminator); i >= 0 {
			return i + len(f.terminator), true
		}
		if !in.EOF {
			return max(0, len(in.Bytes)-len(f.terminator)+1), false
		}
	}
	return len(in.Bytes), false
}

func (f *framing) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Refs {
		payload := in.At(i)
		switch {
		case len(payload) == 0 && f.empty == codecs.EmptySkip:
			out.Skip()
			continue
		case len(payload) == 0 && (f.empty == codecs.EmptyRefuse || len(f.terminator) == 0):
			return i, &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: wantNotEmpty}
		case len(payload) > f.maxFrame:
			return i, &codecs.Fault{At: f.maxFrame, Err: codecs.ErrTooLong, Want: wantAtMost(f.maxFrame)}
		}
		size := f.text.encodedLen(len(payload))
		wire, err := out.Grow(size + len(f.terminator))
		if err != nil {
			return i, err
		}
		begin := len(wire)
		wire = wire[:begin+size]
		f.text.encode(wire[begin:], payload)
		if err := out.Commit(append(wire, f.terminator...)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

// MaxWire returns the length of the longest text with its terminator.
func (f *framing) MaxWire(maxFrame int) int { return f.text.longest(maxFrame) + len(f.terminator) }

func (f *framing) wantTerminator() string {
	if len(f.terminator) == 0 {
		return "the end of the text"
	}
	return codecs.Bytes(f.terminator).String() + " after the text"
}

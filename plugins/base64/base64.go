// Package base64 is the codec for payloads written in 64 harmless characters, as RFC 4648 has them:
//
//	digits padding terminator                   wrap 0: one line
//	digits line_end digits … padding terminator  wrap n: n characters a line, as in MIME (RFC 2045) and PEM
//
// Without a terminator a frame ends where its datagram does.
//
// # One wire, one payload, and back
//
// With strict, as by default, there is exactly one text for a payload (two with optional padding), and the decoder takes
// no other: trailing bits are zero, each line but the last is as long as wrap says and none but the last is short, and
// nothing stands between the digits, no CR or LF either, which many decoders pass over.
//
// Without strict the decoder ignores trailing bits, and passes over CR, LF and the bytes of line_end wherever they
// stand, so that lines may have any length; more of them than there are digits count as part of a text that is too
// long. Padding is as the option says, and any other byte is malformed, in both cases. The encoder is not affected.
//
// # Faults
//
// A malformed frame is at fault at the first byte that no text goes on with: an odd byte, a digit behind the padding, the
// digit with trailing bits, the end of a text that is not whole. It is too long at the first digit of more than fit into
// a payload, or the first byte of a text longer than any. A frame whose terminator has not arrived is looked at once it has
// to be: when it ends, or can only be too long.
//
// Decoding can always go on behind the terminator. Where that has not arrived the decoder is handed a state, and
// discards what comes up to it. That state says nothing of later frames.
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

// A framing is Options, checked and taken apart.
type framing struct {
	text       text
	maxFrame   int
	terminator []byte // empty: the end of the wire ends the frame
	empty      codecs.Empty
}

// discarding is the state of a decoder that is between a fault and the next terminator.
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
	// No terminator counts that begins behind the longest text: how long a frame is does not depend on the cuts.
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
			// Wherever the text ends, it is longer than any.
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

// end returns where the text at pos ends, if it does within what is shown.
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

// decodeText decodes the text from pos to end.
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

// truncated returns the fault of the frame at pos, behind which wire ends before its terminator.
func (f *framing) truncated(wire []byte, pos int) *codecs.Fault {
	wrong, found := f.text.explain(wire[pos:], f.maxFrame, false)
	if found && !bytes.HasPrefix(f.terminator, wire[pos+wrong.at:]) {
		return wrong.fault(pos, len(wire))
	}
	return &codecs.Fault{Offset: pos, At: len(wire), Err: codecs.ErrTruncated, Want: f.wantTerminator(), Resume: len(wire)}
}

// discard looks for the terminator of a frame that was at fault. When it is not found, everything in front of end can
// be forgotten.
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

// MaxWire is the longest text with its terminator.
func (f *framing) MaxWire(maxFrame int) int { return f.text.longest(maxFrame) + len(f.terminator) }

func (f *framing) wantTerminator() string {
	if len(f.terminator) == 0 {
		return "the end of the text"
	}
	return codecs.Bytes(f.terminator).String() + " behind the text"
}

// Package lenprefix is the codec for frames that begin with their length.
//
//	before | length | after     | payload | trailer
//	before | count  | separator | payload | trailer     width 0: a decimal count of as many digits as it takes
//
// A length has a fixed width: bytes of a number, big or little endian; digits, decimal or hex; or packed decimal digits.
// The number it announces is the number of bytes that it counts, plus adjust. It counts either the payload, which lies
// between after (or separator) and trailer, or the frame, from the first byte of before to the last byte of trailer.
//
// With keep_header everything before the trailer is the payload, including the header, for receivers that need the header:
//
//	before … length after body | trailer        length begins at byte offset; the bytes between are not checked
//
// The encoder then writes no length, but checks the one in the payload by the rules of the decoder.
//
// # What a decoder promises
//
// A payload is referred to in the wire, never copied. A header is read as soon as it has arrived, and an announced payload
// that is longer than the limit is refused then, before the decoder waits for any of it. Only digits are accepted as digits:
// a sign, a blank (except leading ones with pad space) or a leading zero in a count is malformed. Every fault is at the first
// byte that can't be right; if the number itself is wrong, at the last byte of the length, or of its separator.
//
// Decoding may go on after a frame that is too long or empty, because its end is known, unless the end is farther away than
// any frame may be long. After other faults no byte can be trusted: if the place of one length is lost, the places of
// all later ones are lost too.
package lenprefix

import (
	"slices"

	"github.com/framehost/framehost/codecs"
)

// Codec is the lenprefix codec.
var Codec = codecs.New(codecs.Info{
	Name:        "lenprefix",
	Version:     "1.0.0",
	Description: "each payload after its length: binary, decimal, hex or packed decimal",
}, Options{
	Width: 4, Pad: PadZero, Counts: CountsPayload, Control: []uint64{}, Empty: codecs.EmptyDeliver,
}, configure)

// A framing is checked Options, in the form that the codec uses.
type framing struct {
	maxFrame   int
	before     string
	offset     int    // where the length begins in the frame, in bytes
	width      int    // of the length in bytes; 0: variable
	number     number // reads and writes the length
	after      string // follows the length; the separator if the width is variable
	trailer    string
	adjust     int64
	countsAll  bool // the length counts the frame, not only the payload
	keepHeader bool
	control    []uint64
	empty      codecs.Empty

	around      int   // bytes of a frame that are neither length nor payload, offset included
	least, most int64 // the payload lengths that can be announced; with keepHeader those of a body

	// The Wants of faults.
	wantBefore, wantLength, wantAfter, wantTrailer, wantLeast, wantHeader string
}

func (f *framing) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	for pos < len(in.Bytes) {
		rest := in.Bytes[pos:]
		h, need, fault := f.header(rest, in.MaxFrame)
		end := h.size + h.body
		want := f.wantHeader
		if need == 0 && fault == nil {
			need, fault = f.tail(rest, end, h.trailer)
			want = "the frame that its length announces"
		}
		switch {
		case fault != nil:
			return pos, fault.from(pos)
		case need > 0 && in.EOF:
			return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: want, Resume: len(in.Bytes)}
		case need > 0:
			out.SetNeed(need)
			return pos, nil
		}
		begin := h.size
		if f.keepHeader {
			begin = 0
		}
		if begin == end && f.empty == codecs.EmptySkip {
			out.Skip()
		} else if err := out.Refer(pos+begin, pos+end); err != nil {
			return pos, err
		}
		pos += end + len(h.trailer)
	}
	return pos, nil
}

// A header is the contents of the header of a frame.
type header struct {
	size    int // bytes before the body
	body    int // bytes of the body: the payload, or with keepHeader the payload without its header
	trailer string
}

// header reads the header at the front of b. If need is more than 0, b is too short: header can find nothing new before b
// has need bytes.
func (f *framing) header(b []byte, maxFrame int) (h header, need int, bad *mistake) {
	if i := agree(b, f.before); i < len(f.before) {
		if i == len(b) {
			return h, i + 1, nil
		}
		return h, 0, malformed(i, f.wantBefore)
	}
	if len(b) <= f.offset {
		return h, f.offset + 1, nil
	}
	announced, n := f.number.read(b[f.offset:])
	h.size = f.offset + n
	switch {
	case n < f.width && h.size < len(b), f.width == 0 && n == 0:
		return h, 0, malformed(h.size, f.wantLength)
	case n < f.width:
		return h, h.size + f.number.step(n), nil
	}
	at := h.size - 1
	if f.width == 0 { // only the separator shows where a count ends
		if h.size, need, bad = f.follows(b, h.size, f.after, f.wantLength); need > 0 || bad != nil {
			return h, need, bad
		}
		at = h.size - 1
	}
	if bad := f.announces(&h, announced, at, maxFrame); bad != nil || f.width == 0 {
		return h, 0, bad
	}
	_, need, bad = f.follows(b, at+1, f.after, f.wantAfter)
	return h, need, bad
}

// announces completes h for the number that the length announces. On entry h.size is the end of the length. at is the
// position of the fault if the number is invalid.
func (f *framing) announces(h *header, announced uint64, at, maxFrame int) *mistake {
	if f.width > 0 {
		h.size += len(f.after)
	}
	kept := 0
	if f.keepHeader {
		kept = h.size
	}
	if len(f.control) > 0 && slices.Contains(f.control, announced) {
		if kept > maxFrame {
			return tooLong(at, maxFrame, uint64(kept), int64(h.size))
		}
		return nil
	}
	h.trailer = f.trailer
	if announced > maxAnnounced {
		return tooLong(at, maxFrame, announced, codecs.Never)
	}
	body := int64(announced) - f.adjust
	if f.countsAll {
		body -= int64(h.size + len(f.trailer))
	}
	switch end := int64(h.size) + body + int64(len(f.trailer)); {
	case body < 0:
		return malformed(at, f.wantLeast)
	case int64(kept)+body > int64(maxFrame):
		return tooLong(at, maxFrame, uint64(int64(kept)+body), end)
	case int64(kept)+body == 0 && f.empty == codecs.EmptyRefuse:
		return refused(at, int(end))
	}
	h.body = int(body)
	return nil
}

// maxAnnounced limits announced lengths, so that their sums with adjust, which has 32 bits, and with the bytes around a
// payload don't overflow 64 bits.
const maxAnnounced = 1 << 62

// tail checks that trailer stands at position end in b. If need is more than 0, b must have need bytes for that.
func (f *framing) tail(b []byte, end int, trailer string) (need int, bad *mistake) {
	if len(b) < end {
		return end + min(1, len(trailer)), nil
	}
	_, need, bad = f.follows(b, end, trailer, f.wantTrailer)
	return need, bad
}

// follows checks that s stands at from in b, and returns where it ends. If need is more than 0, b must have need bytes for
// that.
func (f *framing) follows(b []byte, from int, s, want string) (end, need int, bad *mistake) {
	if s == "" {
		return from, 0, nil
	}
	have := b[min(from, len(b)):]
	i := agree(have, s)
	switch {
	case i == len(s):
		return from + i, 0, nil
	case i == len(have):
		return 0, from + i + 1, nil
	default:
		return 0, 0, malformed(from+i, want)
	}
}

// agree returns the length of the common prefix of b and s.
func agree(b []byte, s string) int {
	if len(b) >= len(s) && string(b[:len(s)]) == s {
		return len(s)
	}
	i := 0
	for i < len(b) && i < len(s) && b[i] == s[i] {
		i++
	}
	return i
}

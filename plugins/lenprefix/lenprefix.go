// Package lenprefix is the codec for frames that begin with their length.
//
//	before | length | after     | payload | trailer
//	before | count  | separator | payload | trailer     width 0: a decimal count of as many digits as it takes
//
// A length has a fixed width: bytes of a number, big or little endian; digits, decimal or hex; or packed decimal digits.
// What it announces is the number of bytes that it counts, plus adjust. It counts either the payload, which is what
// stands between after (or separator) and trailer, or the frame, from the first byte of before to the last of trailer.
//
// With keep_header everything in front of the trailer is the payload, header and all, as its receiver wants to see it:
//
//	before … length after body | trailer        length begins at byte offset; what lies between is not looked at
//
// The encoder then writes no length but checks the one it finds, by the rules of the decoder.
//
// # What a decoder promises
//
// A payload is referred to where it stands in the wire, never copied. A header is read as soon as it has arrived, and
// an announced payload longer than the limit is refused then, before any of it is waited for. Digits are digits: a
// sign, a blank (but for leading ones with pad space) or a leading zero in a count is malformed. Every fault is at
// the first byte that can't be right; for a length that can't be, at its last byte, or its separator's.
//
// Decoding may go on behind a frame that is too long or empty, since it is known where that ends, unless that is farther
// away than any frame may be long. Behind other faults nothing can be trusted: who has lost the place of one length has
// lost all that follow.
package lenprefix

import (
	"slices"

	"github.com/framehost/framehost/codecs"
)

// Codec is the lenprefix codec.
var Codec = codecs.New(codecs.Info{
	Name:        "lenprefix",
	Version:     "1.0.0",
	Description: "each payload behind its length: binary, decimal, hex or packed decimal",
}, Options{
	Width: 4, Pad: PadZero, Counts: CountsPayload, Control: []uint64{}, Empty: codecs.EmptyDeliver,
}, configure)

// A framing is Options, checked and taken apart.
type framing struct {
	maxFrame   int
	before     string
	offset     int    // of the length
	width      int    // of the length in bytes; 0: variable
	number     number // reads and writes the length
	after      string // of the length; the separator where it is variable
	trailer    string
	adjust     int64
	countsAll  bool // the length counts the frame, rather than the payload
	keepHeader bool
	control    []uint64
	empty      codecs.Empty

	around      int   // bytes of a frame that are neither length nor payload, offset included
	least, most int64 // bytes of a payload that can be announced, or of a body behind a header that is kept

	// What faults want.
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

// A header is what the front of a frame says about it.
type header struct {
	size    int // bytes in front of the body
	body    int // bytes of the body: the payload, but for a header that is kept
	trailer string
}

// header reads the header at the front of b. need is more than 0 when that is not possible yet: the bytes that b must
// have before anything new can be said.
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
	if f.width == 0 { // where a count ends is only known behind its separator
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

// announces completes h, whose size is known up to the end of the length, with what the length announces. at is the
// byte that is at fault when that can't be.
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
	if announced > unthinkable {
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

// unthinkable bounds announced lengths so that sums of them with adjust, which is 32 bits, and what surrounds a payload
// can't overflow 64 bits.
const unthinkable = 1 << 62

// tail checks that the trailer stands at end.
func (f *framing) tail(b []byte, end int, trailer string) (need int, bad *mistake) {
	if len(b) < end {
		return end + min(1, len(trailer)), nil
	}
	_, need, bad = f.follows(b, end, trailer, f.wantTrailer)
	return need, bad
}

// follows checks that s stands at from in b, and returns where it ends.
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

// agree returns how many bytes at the front of b are those of s.
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

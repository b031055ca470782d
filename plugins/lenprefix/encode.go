package lenprefix

import (
	"fmt"

	"github.com/framehost/framehost/codecs"
)

func (f *framing) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Refs {
		payload := in.At(i)
		if len(payload) == 0 && f.empty == codecs.EmptySkip {
			out.Skip()
			continue
		}
		if len(payload) > f.maxFrame {
			return i, &codecs.Fault{At: f.maxFrame, Err: codecs.ErrTooLong, Want: wantAtMost(f.maxFrame)}
		}
		var err error
		if f.keepHeader {
			err = f.writeKept(out, payload)
		} else {
			err = f.write(out, payload)
		}
		if err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

// write writes a frame and makes its header.
func (f *framing) write(out *codecs.Frames, payload []byte) error {
	n := int64(len(payload))
	switch {
	case n == 0 && f.empty == codecs.EmptyRefuse:
		return unrepresentable(0, wantNotEmpty)
	case n < f.least:
		return unrepresentable(len(payload), f.wantPayload())
	case n > f.most:
		return unrepresentable(int(f.most), f.wantPayload())
	}
	announced, digits := f.announce(n)
	wire, err := out.Grow(f.around + digits + len(payload))
	if err != nil {
		return err
	}
	if f.around == 0 { // only a length and the payload, the usual case
		return out.Commit(append(f.number.append(wire, announced, digits), payload...))
	}
	wire = append(wire, f.before...)
	wire = f.number.append(wire, announced, digits)
	wire = append(wire, f.after...)
	wire = append(wire, payload...)
	return out.Commit(append(wire, f.trailer...))
}

// announce returns the number that announces a payload of n bytes, f.least to f.most, and the number's length in bytes.
func (f *framing) announce(n int64) (announced uint64, size int) {
	v := n + f.adjust
	if f.width > 0 {
		if f.countsAll {
			v += int64(f.around + f.width)
		}
		return uint64(v), f.width
	}
	if !f.countsAll {
		return uint64(v), decimalDigits(v)
	}
	// A count that includes its own digits: the fewest digits for which it is right. If one digit more moves the count to
	// the next power of ten, there are two right counts, and a decoder accepts both.
	v += int64(f.around)
	for size, power := 1, int64(10); ; size, power = size+1, power*10 {
		if v+int64(size) < power {
			return uint64(v + int64(size)), size
		}
	}
}

// writeKept writes a frame whose header is part of the payload, and checks that header by the rules of the decoder.
func (f *framing) writeKept(out *codecs.Frames, payload []byte) error {
	h, need, bad := f.header(payload, f.maxFrame)
	end := h.size + h.body
	switch {
	case need > 0:
		return unrepresentable(len(payload), f.wantHeader)
	case bad != nil && bad.err == codecs.ErrTooLong:
		return unrepresentable(bad.at, wantAnnounced(payload))
	case bad != nil:
		return unrepresentable(bad.at, bad.want)
	case end != len(payload):
		return unrepresentable(min(end, len(payload)), wantAnnounced(payload))
	}
	wire, err := out.Grow(len(payload) + len(h.trailer))
	if err != nil {
		return err
	}
	return out.Commit(append(append(wire, payload...), h.trailer...))
}

// MaxWire returns the length of the longest frame, or of the longest unfinished header if that is greater.
func (f *framing) MaxWire(maxFrame int) int {
	unfinished := f.offset + f.width - 1
	if f.width == 0 {
		unfinished = f.offset + maxDigits + len(f.after) - 1
	}
	if f.keepHeader {
		longest := int64(maxFrame)
		if f.width > 0 {
			longest = min(longest, int64(f.offset+f.width+len(f.after))+f.most)
		}
		return max(int(longest)+len(f.trailer), unfinished)
	}
	payload := min(int64(maxFrame), f.most)
	_, size := f.announce(payload)
	if f.width == 0 && f.countsAll && decimalDigits(payload+f.adjust+int64(f.around+size+1)) == size+1 {
		size++ // the other right count
	}
	return max(f.around+size+int(payload), unfinished)
}

func (f *framing) wantPayload() string {
	return fmt.Sprintf("a payload of %d to %d bytes", f.least, f.most)
}

func wantAnnounced(payload []byte) string {
	return fmt.Sprintf("a length that announces these %d bytes", len(payload))
}

func unrepresentable(at int, want string) *codecs.Fault {
	return &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: want}
}

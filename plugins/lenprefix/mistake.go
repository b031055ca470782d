package lenprefix

import (
	"fmt"
	"math"

	"github.com/framehost/framehost/codecs"
)

// A mistake is a fault with positions that count from its frame's first byte.
type mistake struct {
	at     int
	err    error
	want   string
	resume int // or codecs.Never

	announced uint64 // the payload length in bytes that a frame which is too long announces
}

// from returns the fault of a frame that begins at offset.
func (m *mistake) from(offset int) *codecs.Fault {
	f := &codecs.Fault{Offset: offset, At: offset + m.at, Err: m.err, Want: m.want, Resume: codecs.Never,
		Announced: m.announced}
	if m.resume != codecs.Never && m.resume <= math.MaxInt-offset {
		f.Resume = offset + m.resume
	}
	return f
}

const wantNotEmpty = "a payload of at least 1 byte"

func wantAtMost(maxFrame int) string { return fmt.Sprintf("a payload of at most %d bytes", maxFrame) }

func malformed(at int, want string) *mistake {
	return &mistake{at: at, err: codecs.ErrMalformed, want: want, resume: codecs.Never}
}

// tooLong returns the mistake of a frame that announces a payload of that many bytes and ends at end. If no limit would
// allow that length, it is assumed to be a number read in the wrong place, and decoding does not go on.
func tooLong(at, maxFrame int, announced uint64, end int64) *mistake {
	if end > codecs.MaxWire {
		end = codecs.Never
	}
	return &mistake{at: at, err: codecs.ErrTooLong, want: wantAtMost(maxFrame), resume: int(end), announced: announced}
}

// refused returns the mistake of an empty frame, which ends at end, if empty frames are refused.
func refused(at, end int) *mistake {
	return &mistake{at: at, err: codecs.ErrMalformed, want: wantNotEmpty, resume: end}
}

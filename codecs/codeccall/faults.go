package codeccall

import (
	"errors"
	"fmt"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// FaultKinds has the kinds of faults by their numbers in answers, by gRPC and by shared memory. The number 0 is no kind.
var FaultKinds = [...]error{1: codecs.ErrTooLong, 2: codecs.ErrMalformed, 3: codecs.ErrTruncated, 4: codecs.ErrUnrepresentable}

// FaultNumber returns the number of a kind of fault, or 0 if kind is none.
func FaultNumber(kind error) int {
	for number, err := range FaultKinds {
		if err != nil && errors.Is(kind, err) {
			return number
		}
	}
	return 0
}

// MaxWant is the greatest length of a fault's Want, in bytes.
const MaxWant = 200

// PayloadTooLong returns the fault of a payload that has more than maxFrame bytes.
func PayloadTooLong(maxFrame int) *codecs.Fault {
	return &codecs.Fault{At: maxFrame, Err: codecs.ErrTooLong, Want: wantAtMost(maxFrame)}
}

// TooLong returns the fault of a frame at offset that is unfinished beyond p.MaxWire and that its codec has not reported.
func (p *Properties) TooLong(offset int) *codecs.Fault {
	return tooLong(offset, offset+min(p.MaxFrame, p.MaxWire), p.MaxFrame)
}

// tooLong returns the fault of a frame at offset whose codec does not report it itself. The fault is the same whether
// the payload was too long or the frame was unfinished beyond its limit, since which of the two is found first depends
// on the cuts.
func tooLong(offset, at, maxFrame int) *codecs.Fault {
	return &codecs.Fault{Offset: offset, At: at, Err: codecs.ErrTooLong, Want: wantAtMost(maxFrame), Resume: codecs.Never}
}

func wantAtMost(maxFrame int) string { return fmt.Sprintf("a payload of at most %d bytes", maxFrame) }

// FailedText returns the text of err without that of ErrCodecFailed, for an answer: the host adds ErrCodecFailed again.
func FailedText(err error) string {
	return strings.TrimPrefix(err.Error(), ErrCodecFailed.Error()+": ")
}

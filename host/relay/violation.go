package relay

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/framehost/framehost/codecs"
)

// ErrUnfinished is the Err of the Violation that describes what a FrameTimeout waited with.
var ErrUnfinished = errors.New("unfinished frame")

// A Violation is what a peer did that its framing forbids, or a payload that the receiver's framing can't carry.
//
// Offset and At count bytes of what the sender sent, from its first one: from the stream's start, or, where Source is valid,
// from the first byte of that datagram. A payload that the decoder built, by unescaping for example, has no bytes of its own
// there. Then Built is true and both are where its frame begins; PayloadAt has the byte of the payload. Where a codec does
// not let the frame be found, it begins there or later.
type Violation struct { //nolint:errname // the word for it everywhere
	Direction Direction
	Offset    int64 // the first byte of the faulty frame, or of the payload that can't be represented
	At        int64 // the byte that made it certain
	// Payload says that the receiver's framing can't carry a payload. PayloadAt is the byte at fault, counted from the payload's
	// start.
	Payload   bool
	PayloadAt int64
	Built     bool
	// Frame is how many frames preceded it in this direction, as far as they were not dropped after violations; of a
	// datagram, in that datagram.
	Frame int64
	// Err is codecs.ErrTooLong, ErrMalformed, ErrTruncated or ErrUnrepresentable, or ErrUnfinished.
	Err error
	// Want is what the framing asks for there.
	Want string
	// MaxFrame is the limit, in bytes of payload, that a frame which is too long exceeds; 0: none of the configuration.
	MaxFrame int
	// Announced is the payload's length that a frame which is too long announces, or that a payload has which is too long; 0:
	// the frame announces none.
	Announced uint64
	// Bytes are the first bytes of the frame, or of the payload: Config.WireBytes at most. Where the byte at At is
	// not among them, BytesAt has a few bytes from there, and Bytes fewer.
	Bytes, BytesAt []byte
	// Held is how many bytes of an unfinished frame were there.
	Held int
	// Skipped is true when the session, or the member of a hub, goes on.
	Skipped bool
	// Source is where a datagram came from.
	Source netip.AddrPort
	// Kept is where Quarantine keeps what is skipped; nil: nowhere. It may have been closed.
	Kept io.WriteCloser
}

// Error says all of it but whether the session goes on.
func (v *Violation) Error() string {
	return fmt.Sprintf("relay: %s: %v at offset %d (frame %d begins at %d): got %x, want %s",
		v.Direction, v.Err, v.At, v.Frame, v.Offset, v.Bytes, v.Want)
}

// Unwrap returns Err.
func (v *Violation) Unwrap() error { return v.Err }

// Clone returns a copy that shares no memory with v.
func (v *Violation) Clone() Violation {
	c := *v
	c.Bytes, c.BytesAt = append([]byte(nil), v.Bytes...), append([]byte(nil), v.BytesAt...)
	return c
}

// wireViolation is about a fault in shown, which begins at offset in the stream. most is how many bytes it may show.
func wireViolation(d Direction, offset, frame int64, fault *codecs.Fault, shown []byte, maxFrame, most int) *Violation {
	v := &Violation{
		Direction: d, Offset: offset + int64(fault.Offset), At: offset + int64(fault.At), Frame: frame,
		Err: fault.Err, Want: fault.Want, Announced: fault.Announced,
	}
	v.limit(maxFrame)
	v.show(shown[fault.Offset:], fault.At-fault.Offset, most)
	return v
}

// limit notes the limit that a frame which is too long exceeds.
func (v *Violation) limit(maxFrame int) {
	if errors.Is(v.Err, codecs.ErrTooLong) {
		v.MaxFrame = maxFrame
	}
}

// bytesAt is how many bytes from At on are shown, of those that may be shown, where they lie beyond the first ones.
const bytesAt = 8

// show shows up to most bytes of p, a frame or a payload that is at fault for its byte at.
func (v *Violation) show(p []byte, at, most int) {
	first := p[:min(most, len(p))]
	if most > 2*bytesAt && at >= most && at < len(p) {
		first = p[:most-bytesAt]
		v.BytesAt = append([]byte(nil), p[at:min(at+bytesAt, len(p))]...)
	}
	v.Bytes = append([]byte(nil), first...)
}

// A keeper is what sessions and members have in common where violations are reported and their bytes are kept.
type keeper struct {
	violation  func(Violation)
	quarantine func(Violation) io.WriteCloser // nil: nothing is kept
	wireBytes  int                            // that a violation shows at most
}

func newKeeper(policy OnViolation, violation func(Violation), quarantine func(Violation) io.WriteCloser, wireBytes int) keeper {
	if policy != Quarantine {
		quarantine = nil
	}
	return keeper{violation, quarantine, wireBytes}
}

// open sets v.Kept to where the bytes that are dropped for it are kept.
func (k *keeper) open(v *Violation) {
	if k.quarantine != nil {
		v.Kept = k.quarantine(*v)
	}
}

func (k *keeper) report(v *Violation) {
	if k.violation != nil {
		k.violation(*v)
	}
}

// whole keeps all that is dropped for v at once, and reports it.
func (k *keeper) whole(v *Violation, dropped []byte) {
	k.open(v)
	if v.Kept != nil {
		_, _ = v.Kept.Write(dropped) // its errors are its own affair
		_ = v.Kept.Close()           // likewise
	}
	k.report(v)
}

func skips(policy OnViolation) bool { return policy == Skip || policy == Quarantine }

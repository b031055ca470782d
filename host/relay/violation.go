package relay

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecstream"
)

// ErrUnfinished is the Err of a Violation that describes the unfinished frame of a [FrameTimeout].
var ErrUnfinished = errors.New("unfinished frame")

// A Violation describes wire that breaks the framing of its sender, or a payload that the receiver's framing can't carry.
//
// Offset and At count bytes from the start of the sender's stream or, if Source is valid, from the start of that datagram. A payload
// that the decoder built, for example by unescaping, is not part of these bytes. For such a payload, Built is true, Offset and At are
// the beginning of its frame, and PayloadAt is the faulty byte within the payload. If the frame can't be found, it begins at Offset or
// later.
type Violation struct { //nolint:errname // the word for it everywhere
	Direction Direction
	Offset    int64 // position of the first byte of the faulty frame, or of the payload that can't be represented
	At        int64 // position of the byte that is wrong
	// Payload is true if the receiver's framing can't carry a payload. PayloadAt is then the position of the byte that is wrong,
	// counted from the payload's start.
	Payload   bool
	PayloadAt int64
	Built     bool
	// Frame is the number of frames before the faulty one in this direction, or in this datagram. Frames that were dropped because
	// of violations do not count.
	Frame int64
	// Err is codecs.ErrTooLong, ErrMalformed, ErrTruncated or ErrUnrepresentable, or ErrUnfinished.
	Err error
	// Want says what the framing requires at that byte.
	Want string
	// MaxFrame is the configured limit, in bytes of payload, that a frame or payload exceeds; 0: it exceeds no such limit.
	MaxFrame int
	// Announced is the payload length that a frame which is too long announces, or the length of a payload that is too long, in
	// bytes; 0: the frame announces no length.
	Announced uint64
	// Bytes are the first bytes of the frame or of the payload, at most Config.WireBytes. If the byte at At is not among them and
	// Config.WireBytes exceeds 16, BytesAt has up to eight bytes from At on, and Bytes has eight bytes fewer.
	Bytes, BytesAt []byte
	// Held is the number of bytes of an unfinished frame that had arrived.
	Held int
	// Skipped is true when the session, or the member of a hub, goes on.
	Skipped bool
	// Source is the source address of the datagram; the zero value, which is not valid, for streams.
	Source netip.AddrPort
	// Kept is the writer from Quarantine for the dropped bytes; nil: they are not kept. It may be closed already.
	Kept io.WriteCloser
}

// Error describes the violation. It does not say whether the session goes on.
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

// wireViolation returns the Violation for a fault in the wire of a sender whose payloads have at most maxFrame bytes. It shows at most
// most bytes of the faulty frame.
func wireViolation(d Direction, f *codecstream.Fault, maxFrame, most int) *Violation {
	v := &Violation{
		Direction: d, Offset: f.Begin + int64(f.Offset), At: f.Begin + int64(f.At), Frame: f.Frame,
		Err: f.Err, Want: f.Want, Announced: f.Announced,
	}
	v.limit(maxFrame)
	v.show(f.Wire[f.Offset:], f.At-f.Offset, most)
	return v
}

// limit sets MaxFrame if a frame or payload is too long.
func (v *Violation) limit(maxFrame int) {
	if errors.Is(v.Err, codecs.ErrTooLong) {
		v.MaxFrame = maxFrame
	}
}

// bytesAt is the number of bytes shown from At on if they are not among the first bytes.
const bytesAt = 8

// show copies at most most bytes of p into Bytes and BytesAt. p is a frame or a payload; its byte at is wrong.
func (v *Violation) show(p []byte, at, most int) {
	first := p[:min(most, len(p))]
	if most > 2*bytesAt && at >= most && at < len(p) {
		first = p[:most-bytesAt]
		v.BytesAt = append([]byte(nil), p[at:min(at+bytesAt, len(p))]...)
	}
	v.Bytes = append([]byte(nil), first...)
}

// A keeper reports violations and keeps their dropped bytes, for sessions and members.
type keeper struct {
	violation  func(Violation)
	quarantine func(Violation) io.WriteCloser // nil: nothing is kept
	wireBytes  int                            // the most bytes that a violation shows
}

func newKeeper(policy OnViolation, violation func(Violation), quarantine func(Violation) io.WriteCloser, wireBytes int) keeper {
	if policy != Quarantine {
		quarantine = nil
	}
	return keeper{violation, quarantine, wireBytes}
}

// open sets v.Kept to a writer for the bytes that are dropped because of v.
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

// whole keeps dropped, which is all bytes that are dropped because of v, and then reports v.
func (k *keeper) whole(v *Violation, dropped []byte) {
	k.open(v)
	if v.Kept != nil {
		_, _ = v.Kept.Write(dropped) // see Config.Quarantine for its errors
		_ = v.Kept.Close()           // likewise
	}
	k.report(v)
}

func skips(policy OnViolation) bool { return policy == Skip || policy == Quarantine }

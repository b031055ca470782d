package relay

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"

	"github.com/framehost/framehost/codecs"
)

// excerpt is how many bytes of the wire a Violation shows.
const excerpt = 32

// A Violation is what a peer did that its framing forbids, or a payload that the receiver's framing can't carry.
type Violation struct { //nolint:errname // the word for it everywhere
	Direction Direction
	// Offset is where the faulty frame begins in what the sender sent, in bytes from the stream's start. Of a payload
	// that its codec built (rather than found in the wire), it is where the batch began that the payload came in.
	Offset int64
	// At is the byte that made it certain, likewise from the stream's start. For a payload that can't be represented it
	// counts from the payload's first byte.
	At int64
	// Frame is how many frames preceded it in this direction, as far as they were not dropped after violations.
	Frame int64
	// Err is codecs.ErrTooLong, ErrMalformed, ErrTruncated or ErrUnrepresentable.
	Err error
	// Want is what the framing asks for there.
	Want string
	// Bytes are the bytes at At, 32 at most; where the stream ended there, its last ones.
	Bytes []byte
	// Skipped is true when the session, or the member of a hub, goes on.
	Skipped bool
	// Source is where a datagram came from whose wire is at fault; Offset and At count from its first byte then, and Frame
	// counts the frames before it in that datagram. It is not valid otherwise.
	Source netip.AddrPort
}

// Error says all of it but whether the session goes on.
func (v *Violation) Error() string {
	return fmt.Sprintf("relay: %s: %v at offset %d (frame %d begins at %d): got %x, want %s",
		v.Direction, v.Err, v.At, v.Frame, v.Offset, v.Bytes, v.Want)
}

// Unwrap returns Err.
func (v *Violation) Unwrap() error { return v.Err }

// wireViolation is about a fault in shown, which begins at offset in the stream.
func wireViolation(d Direction, offset, frame int64, fault *codecs.Fault, shown []byte) *Violation {
	return &Violation{
		Direction: d, Offset: offset + int64(fault.Offset), At: offset + int64(fault.At), Frame: frame,
		Err: fault.Err, Want: fault.Want, Bytes: excerptOf(shown, fault.Offset, fault.At),
	}
}

// excerptOf returns a copy of the bytes of a frame from at on, or, where it ended there, of its last ones.
func excerptOf(p []byte, begin, at int) []byte {
	if there := p[at:min(at+excerpt, len(p))]; len(there) > 0 {
		return bytes.Clone(there)
	}
	return bytes.Clone(p[max(begin, at-excerpt):at])
}

// report tells about v and returns where to keep the bytes that are dropped, or nil.
func (s *Session) report(v *Violation) io.WriteCloser {
	if s.config.Violation != nil {
		s.config.Violation(*v)
	}
	if s.config.OnViolation != Quarantine || s.config.Quarantine == nil {
		return nil
	}
	return s.config.Quarantine(*v)
}

func (s *Session) skips() bool {
	return s.config.OnViolation == Skip || s.config.OnViolation == Quarantine
}

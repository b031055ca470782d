package codecs

import (
	"errors"
	"fmt"
)

// What a fault is about. A Fault's Err is one of the first four.
var (
	// ErrTooLong: a payload, or the wire of one frame, exceeds its limit.
	ErrTooLong = errors.New("frame too long")
	// ErrMalformed: the wire is not what the framing asks for.
	ErrMalformed = errors.New("malformed frame")
	// ErrTruncated: the stream, or the datagram, ended inside a frame.
	ErrTruncated = errors.New("truncated frame")
	// ErrUnrepresentable: an encoder was given a payload that its framing cannot carry.
	ErrUnrepresentable = errors.New("payload cannot be represented")

	// ErrNoRoom is not a fault: the result is full, and the call stopped in good order before the next frame.
	ErrNoRoom = errors.New("no room for another frame")
)

// Never as a Fault's Resume says that nothing behind the fault can be trusted.
const Never = -1

// A Fault says where a stream stopped being frames, and why. It is the same however the wire was cut.
//
// From a decoder, positions count bytes from the first one shown. From an encoder, At counts bytes from the start of
// the payload at fault (the one behind those taken), Offset is 0, and Resume is not used: an encoder can always go on
// with the next payload.
type Fault struct {
	Offset int    // the first byte of the faulty frame
	At     int    // the byte that made the fault certain; the length of the wire where its end did
	Err    error  // ErrTooLong, ErrMalformed, ErrTruncated or ErrUnrepresentable
	Want   string // what the framing asks for there, such as "4 decimal digits"; at most 200 bytes

	// Resume is where decoding may go on after the faulty frame was given up: behind Offset, perhaps beyond what was
	// shown, or Never. The state handed back with a fault is the state there.
	Resume int

	// Announced is the payload's length in bytes that a frame which is too long announces, for example by its length
	// prefix; 0: the frame announces none, or it is not known. Reports show it as a number.
	Announced uint64
}

// Error describes the fault by its kind, place and want.
func (f *Fault) Error() string {
	if errors.Is(f.Err, ErrUnrepresentable) {
		return fmt.Sprintf("%v: byte %d: want %s", f.Err, f.At, f.Want)
	}
	return fmt.Sprintf("%v at offset %d (frame begins at %d): want %s", f.Err, f.At, f.Offset, f.Want)
}

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

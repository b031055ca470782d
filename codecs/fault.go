package codecs

import (
	"errors"
	"fmt"
)

// The kinds of faults, which are the values of Fault.Err, and ErrNoRoom.
var (
	// ErrTooLong: a payload, or the wire of one frame, exceeds its limit.
	ErrTooLong = errors.New("frame too long")
	// ErrMalformed: the wire violates the framing.
	ErrMalformed = errors.New("malformed frame")
	// ErrTruncated: the stream, or the datagram, ended inside a frame.
	ErrTruncated = errors.New("truncated frame")
	// ErrUnrepresentable: an encoder was given a payload that its framing cannot carry.
	ErrUnrepresentable = errors.New("payload cannot be represented")

	// ErrNoRoom is not a fault: the result is full, and the call stopped before the next frame.
	ErrNoRoom = errors.New("no room for another frame")
)

// Never as a Fault's Resume means that decoding cannot go on: no byte after the fault can be trusted.
const Never = -1

// A Fault describes the frame at which decoding or encoding failed, and the reason. It does not depend on how the wire
// was cut.
//
// In a decoder's fault, positions count bytes from the first byte shown. In an encoder's fault, At counts bytes from the
// start of the faulty payload (the first one that was not taken), Offset is 0, and Resume is not used: an encoder can
// always go on with the next payload.
type Fault struct {
	Offset int    // position of the faulty frame's first byte
	At     int    // position of the byte that made the fault certain; the length of the wire if its end did
	Err    error  // ErrTooLong, ErrMalformed, ErrTruncated or ErrUnrepresentable
	Want   string // what the framing wants at At, such as "4 decimal digits"; at most 200 bytes

	// Resume is the position at which decoding may go on after the faulty frame is given up: greater than Offset,
	// possibly beyond the bytes shown; or Never. The state returned with a fault is the state at Resume.
	Resume int

	// Announced is the payload length in bytes that a frame which is too long announces, for example in its length
	// prefix. 0: the frame announces no length, or the length is not known. Reports show it as a number.
	Announced uint64
}

// Error returns the kind of the fault, its place and what was wanted.
func (f *Fault) Error() string {
	if errors.Is(f.Err, ErrUnrepresentable) {
		return fmt.Sprintf("%v: byte %d: want %s", f.Err, f.At, f.Want)
	}
	return fmt.Sprintf("%v at offset %d (frame begins at %d): want %s", f.Err, f.At, f.Offset, f.Want)
}

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

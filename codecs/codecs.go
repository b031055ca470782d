// Package codecs defines what a framing codec is. It is the manual for authors of codecs.
//
// # The problem
//
// A stream carries bytes, but programs exchange strings. So each protocol frames its strings: it ends each with a
// newline, or writes the length first, or escapes bytes that could be mistaken for framing. framehost carries payloads
// between two sides that frame differently, and leaves the framing to codecs. A relay sees a stream as bytes cut at
// arbitrary points. An [Encoder] writes payloads as frames; a [Decoder] reads them back, however the bytes were cut on
// the way:
//
//	payloads "hi" "ho"  --Encode-->  h i ~ h o ~  --Decode-->  "hi" "ho"
//
// Both are functions: their results depend on their options and arguments alone. The caller keeps the bytes that were
// not consumed and shows them again. So a codec may be called, restarted or replaced between any two calls, and one
// codec process serves any number of connections and keeps no data of any of them.
//
// # The words
//
// A payload is the user's bytes. A frame is a payload with its framing. The wire is encoded bytes, which arrive in
// reads cut anywhere.
//
// # Writing a codec
//
// Write a struct of options, a type with the two methods of [Framing], and a [Codec] made by [New]. One call,
// codecrpc.Serve(codec), makes a program that serves the codec to framehost. codectest.Run runs the test suite that
// framehost's own codecs pass. The example of this package is a complete codec. Simple codecs need even less:
// [FromFuncs] makes a Framing from a [bufio.SplitFunc] and a function that appends a frame.
//
// # Decoding, as situations
//
// Decode is shown the bytes that have arrived and were not consumed. With "~" as the terminator:
//
//	shown     payloads    consumed   then
//	"hi"      none        0          the frame is unfinished: the same bytes are shown again, followed by new ones
//	"hi~"     "hi"        3          nothing is left; the next call shows the bytes that arrive next
//	"hi~ho~a" "hi" "ho"   6          "a" is shown again, followed by new bytes
//	"hi~a" at the end of the stream:
//	          "hi"        3          and the fault ErrTruncated, because "a" will never be finished
//
// Positions count from the first byte shown. An unfinished frame is not an error. Decode returns every frame it finds
// in one call: batches make a codec fast. [Payloads.Refer] delivers a payload that stands unchanged in the wire, without
// a copy; [Payloads.Grow] and [Payloads.Commit] build a payload.
//
// When bytes are shown again, Wire.Examined is the number of bytes that an earlier call has already searched, as that
// call declared with [Payloads.SetExamined]. A search may continue there. A decoder may ignore Examined, but then the
// work on a long frame that arrives in many reads is quadratic. A decoder that knows how many bytes it needs before
// another call can find anything, for example after a length prefix, declares that number with [Payloads.SetNeed]. The
// host waits for that many bytes: a number that is too large breaks the contract.
//
// # Limits
//
// Wire.MaxFrame is the longest payload that may be accepted, in bytes. Refer, Append and Commit refuse a longer payload
// with [ErrTooLong], and Grow reserves no more memory than the limit. A decoder that knows earlier, for example from an
// announced length, returns a [Fault] at once. The longest wire of one frame follows from the options and the longest
// payload. A framing states it with a method MaxWire (see [Sizer]); the host ends a frame that is still unfinished
// beyond that length as too long. When a result has no room left, Refer, Grow and similar methods return [ErrNoRoom]. A
// codec that returns this error has stopped in good order and is called again at once.
//
// # Faults
//
// When Decode meets bytes that the framing forbids, it returns a [*Fault] as its error. Everything before the faulty
// frame takes effect: its payloads are delivered, and the number of consumed bytes ends before the faulty frame. A
// fault says where the frame began, which byte made the fault certain, what was wanted there, and where decoding may go
// on for hosts that skip broken frames. None of this may depend on how the wire was cut. In particular, Fault.Resume,
// the position at which decoding may go on, must be the same whether or not the end of the faulty frame has already
// arrived. A decoder that cannot always see the end goes on inside the frame instead: in a state of its own (see State
// below) it consumes the rest of the frame, and in each call it declares with [Payloads.Drop] how many bytes belonged
// to that frame. This lets hosts count, and keep, every byte of the frame.
//
// # State
//
// Most framings need no state, because each frame is complete in itself. If the meaning of a frame depends on earlier
// frames, or if a decoder is still discarding the rest of a faulty frame, the codec returns up to [MaxState] bytes of
// state with [Payloads.SetState] or [Frames.SetState]. The next call of the same direction receives them. State is
// empty at the start of a stream. It may be passed to another process of the same codec: change [Info.StateVersion]
// when the meaning of the state changes. A framing whose frames depend on earlier ones declares it with a method
// UsesState (see [Stateful]).
package codecs

import (
	"encoding/json"
	"fmt"
)

// Limits of the contract.
const (
	MaxState    = 256       // bytes of state
	MaxPayloads = 65536     // payloads in one call or one answer
	MaxFrame    = 1 << 30   // bytes: the largest limit that may be set for a payload
	MaxWire     = 1<<31 - 1 // bytes: the largest wire of one frame
)

// A Framing is a codec with its options applied. It is safe for concurrent use: it keeps nothing between calls.
type Framing interface {
	Decoder
	Encoder
}

// A Decoder reads payloads out of wire bytes. It is safe for concurrent use: it keeps nothing between calls.
type Decoder interface {
	// Decode appends to out the payload of each whole frame at the front of in.Bytes and returns how many bytes the
	// frames occupy. An unfinished frame is not an error: Decode leaves it, and the next call shows it again, followed
	// by new bytes. in.Examined is then the number of bytes that an earlier call has already searched; Decode declares
	// a new number with out.SetExamined. A fault is returned after the payloads before it were appended. The methods of
	// out return ErrTooLong for a payload longer than the limit, for which they reserve no memory, and ErrNoRoom when
	// there is no room for another payload; Decode returns either as its error, with the number of bytes consumed before.
	//
	// Each payload occupies at least one byte of wire. Decode may consume bytes that yield no payload. At the end of the
	// stream (in.EOF) Decode consumes everything, or stops with ErrNoRoom, or returns a fault; for an unfinished frame
	// that fault is ErrTruncated.
	//
	// Decode must not change or keep in.Bytes or in.State.
	Decode(out *Payloads, in Wire) (consumed int, err error)
}

// An Encoder writes payloads as frames. It is safe for concurrent use: it keeps nothing between calls.
type Encoder interface {
	// Encode appends to out the frame of each payload of in, in order, and returns how many payloads it took. It stops
	// early with ErrNoRoom when out is full, or with a fault that is ErrUnrepresentable at a payload that this framing
	// cannot carry: it never truncates a payload, and never writes a frame that would be read back as something else.
	// At the end of the stream (in.EOF, once, after the last payload) it may write bytes that end a stream.
	//
	// A frame may depend on randomness: the host uses each result at most once. Encode must not change or keep the
	// payloads or in.State.
	Encode(out *Frames, in Batch) (taken int, err error)
}

// A Sizer is a Framing that can bound the length of its frames.
type Sizer interface {
	// MaxWire returns the greatest length in bytes of one frame with a payload of up to maxFrame bytes: of any frame
	// that Encode writes or Decode accepts, and of any unfinished frame for which Decode still waits.
	MaxWire(maxFrame int) int
}

// Stateful is a Framing that reports whether, with its options, a frame depends on earlier frames. Such a framing
// can't be used where each frame must be complete in itself: in datagrams, or towards the receivers of a hub. State
// that a decoder keeps only to discard the rest of a faulty frame does not count.
type Stateful interface {
	UsesState() bool
}

// DefaultMaxWire returns the bound that hosts assume for a framing that is not a [Sizer]: four bytes for each payload
// byte, as if each were escaped twice, and 4 KiB for the rest of the frame; at most [MaxWire].
func DefaultMaxWire(maxFrame int) int { return int(min(4*int64(maxFrame)+4096, MaxWire)) }

// MaxWireOf returns the length in bytes of the longest frame of f with a payload of up to maxFrame bytes, at most [MaxWire].
func MaxWireOf(f Framing, maxFrame int) int {
	n := DefaultMaxWire(maxFrame)
	if s, ok := f.(Sizer); ok {
		n = s.MaxWire(maxFrame)
	}
	return min(n, MaxWire)
}

// UsesState reports whether a frame of f may depend on earlier frames.
func UsesState(f Framing) bool {
	s, ok := f.(Stateful)
	return ok && s.UsesState()
}

// Info identifies a codec to operators and hosts.
type Info struct {
	Name         string // lower case letters, digits and hyphens, such as "lenprefix"
	Version      string // of the codec, such as "1.0.0"
	Description  string // one line
	StateVersion uint32 // changes when the meaning of state bytes changes
}

// A Codec makes framings from options. It is safe for concurrent use.
type Codec interface {
	Info() Info
	// Schema returns the JSON Schema of the options: an object whose properties each have a type, a description and,
	// if there is one, a default. The caller must not change it.
	Schema() json.RawMessage
	// Configure returns the framing for options, a JSON object that the schema describes, and for payloads of at most
	// maxFrame bytes (1 to [MaxFrame]). It also returns the options in force, with defaults filled in. The error wraps
	// an [*OptionError] for each faulty option, all at once.
	Configure(options json.RawMessage, maxFrame int) (framing Framing, inForce json.RawMessage, err error)
}

// An OptionError reports one faulty option.
type OptionError struct {
	Option string // path of the option, such as "terminator" or "map.0xC0"
	Got    string // the value, as the user wrote it if that is known; empty: the option is missing
	Want   string // a description of valid values, such as "1 to 64 bytes"
}

// Error returns the option, the value it has and the value that is wanted.
func (e *OptionError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("option %s: want %s", e.Option, e.Want)
	}
	return fmt.Sprintf("option %s: got %s, want %s", e.Option, e.Got, e.Want)
}

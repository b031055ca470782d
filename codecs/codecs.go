// Package codecs defines what a framing codec is. It is the manual for those who write one.
//
// # The problem
//
// A stream carries bytes, but programs exchange strings. So each protocol frames its strings: it ends each with a
// newline, or writes its length first, or escapes what could be mistaken. framehost carries payloads between two
// sides that frame differently, and leaves the framing to codecs. A relay sees a stream as bytes cut at arbitrary
// points. An [Encoder] writes payloads as frames; a [Decoder] reads them back, however the bytes were cut on the way:
//
//	payloads "hi" "ho"  --Encode-->  h i ~ h o ~  --Decode-->  "hi" "ho"
//
// Both are functions: what they return depends on their options and their arguments alone. The caller keeps what was
// not consumed and shows it again, so a codec may be called, restarted or replaced between any two calls, and one
// codec process serves any number of connections without holding anything of them.
//
// # The words
//
// A payload is the user's bytes; a frame is a payload with its framing; the wire is encoded bytes, which arrive in
// reads cut anywhere.
//
// # Writing a codec
//
// Write a struct of options, a type with the two methods of [Framing], and a [Codec] made by [New]. A program that
// serves it to framehost is one call, codecrpc.Serve(codec), and codectest.Run puts it through the same suite that the
// codecs of framehost pass. The example of this package is a whole codec. Two adapters make simple cases shorter
// still: [FromFuncs] needs a [bufio.SplitFunc] and a function that appends a frame.
//
// # Decoding, as situations
//
// Decode is shown the bytes that have arrived and not been consumed. With "~" as the terminator:
//
//	shown     payloads    consumed   then
//	"hi"      none        0          the frame is unfinished: the same bytes come again, with more behind them
//	"hi~"     "hi"        3          nothing is left; the next call shows what arrives next
//	"hi~ho~a" "hi" "ho"   6          "a" is shown again, with more behind it
//	"hi~a" and no more bytes will come:
//	          "hi"        3          and the fault ErrTruncated, for "a" will never be finished
//
// Positions count from the first byte shown. An unfinished frame is not an error. A call takes as many frames as it
// finds: batches are what makes a codec fast. [Payloads.Refer] hands over a payload that stands in the wire as it is,
// without a copy; [Payloads.Grow] and [Payloads.Commit] build one.
//
// When bytes come again, Wire.Examined says how many of them an earlier call has already searched, as that call
// declared with [Payloads.SetExamined]: a search may go on there. Ignoring it is correct, but makes the work on a long
// frame that arrives in many reads quadratic. [Payloads.SetNeed] says how long the wire must be before another call
// can find anything, when that is known, as it is after a length prefix. A host waits for that many bytes: a need that is too
// large breaks the contract.
//
// # Limits
//
// Wire.MaxFrame is the longest payload that may be accepted, in bytes. Refer and Grow refuse a longer one with
// [ErrTooLong], before any memory is taken. A decoder that can tell earlier, from an announced length for instance,
// returns a [Fault] at once. The longest wire of one frame follows from the options and the longest payload; a framing
// with a method MaxWire (see [Sizer]) states it, and a frame that is still unfinished beyond it is ended by the host as
// too long. When a result has no room left, Refer, Grow and their like return [ErrNoRoom]; a method that hands this
// error back has stopped in good order and is called again at once.
//
// # Faults
//
// What a framing forbids ends the call with a [*Fault] as its error, after everything before it has taken effect: the
// payloads in front are delivered, and the number returned stops before the faulty frame. A fault says where the frame
// began, which byte made it certain, what was wanted there, and where decoding may go on for those who prefer to skip
// what is broken. None of this may depend on how the wire was cut: a decoder that can't see yet where a faulty frame
// ends must not answer that end when it happens to be there, but goes on within the frame, in a state (see below) in
// which it consumes what is left of it, and declares with [Payloads.Drop] how much of each call's wire that was. So
// hosts can count, and keep, every byte of the frame.
//
// # State
//
// Most framings need none: a frame says all about itself. Where the meaning of a frame depends on those before it, or
// where a decoder is on its way through bytes to be discarded, up to [MaxState] bytes of state are handed back with
// [Payloads.SetState] or [Frames.SetState] and come again with the next call of the same direction. State is empty at
// the start of a stream, and it may be handed to another process of the same codec: change [Info.StateVersion] when
// its meaning changes. A framing whose frames depend on earlier ones says so with a method UsesState (see [Stateful]).
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

// A Framing is a codec with its options in force. It is safe for concurrent use: it keeps nothing between calls.
type Framing interface {
	Decoder
	Encoder
}

// A Decoder reads payloads out of wire bytes. It is safe for concurrent use: it keeps nothing between calls.
type Decoder interface {
	// Decode appends to out the payload of each whole frame at the front of in.Bytes and returns how many bytes
	// they took. An unfinished frame is not an error: it is left, and shown again with more behind it, and then
	// in.Examined says how much of it an earlier call has already searched (the new mark goes to out). A fault
	// comes after the payloads before it. out refuses a payload longer than the limit with ErrTooLong, before any
	// memory is taken, and reports with ErrNoRoom when there is no room for another; Decode returns either as its
	// error, with what it had consumed before.
	//
	// Each payload takes at least one byte of wire. Bytes may be consumed without a payload. At the end of the
	// stream (in.EOF) Decode consumes everything, or stops with ErrNoRoom, or returns a fault that is ErrTruncated.
	//
	// Decode must not change in.Bytes or in.State, nor keep them.
	Decode(out *Payloads, in Wire) (consumed int, err error)
}

// An Encoder writes payloads as frames. It is safe for concurrent use: it keeps nothing between calls.
type Encoder interface {
	// Encode appends to out the frame of each payload of in, in order, and returns how many it took. It stops early
	// with ErrNoRoom when out is full, or with a fault that is ErrUnrepresentable at a payload that this framing
	// cannot carry: it never cuts a payload, nor writes a frame that would read back as something else.
	// At the end of the stream (in.EOF, once, after the last payload) it may write what ends a stream.
	//
	// A frame may depend on randomness: each result is used once or never. Encode must not change the payloads or
	// in.State, nor keep them.
	Encode(out *Frames, in Batch) (taken int, err error)
}

// A Sizer is a Framing that knows how long its frames can be.
type Sizer interface {
	// MaxWire returns the length in bytes of the longest wire that Encode writes or Decode accepts for one frame
	// with a payload of up to maxFrame bytes, with everything that Decode would still be waiting within.
	MaxWire(maxFrame int) int
}

// Stateful is a Framing that can say whether, with its options, a frame depends on those before it. Such a framing
// can't be used where each frame must stand for itself: in datagrams, or towards the receivers of a hub. State that a
// decoder keeps merely to discard the rest of a faulty frame does not count.
type Stateful interface {
	UsesState() bool
}

// DefaultMaxWire is what is assumed of a framing that is not a [Sizer]: every payload byte escaped twice over, and
// 4 KiB for what surrounds them; at most [MaxWire].
func DefaultMaxWire(maxFrame int) int { return int(min(4*int64(maxFrame)+4096, MaxWire)) }

// MaxWireOf returns the longest wire of one frame of f with a payload of up to maxFrame bytes, at most [MaxWire].
func MaxWireOf(f Framing, maxFrame int) int {
	n := DefaultMaxWire(maxFrame)
	if s, ok := f.(Sizer); ok {
		n = s.MaxWire(maxFrame)
	}
	return min(n, MaxWire)
}

// UsesState reports whether a frame of f may depend on those before it.
func UsesState(f Framing) bool {
	s, ok := f.(Stateful)
	return ok && s.UsesState()
}

// Info tells people and hosts which codec this is.
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
	// where there is one, a default. The caller must not change it.
	Schema() json.RawMessage
	// Configure returns the framing for options, a JSON object as the schema describes it, and for payloads of at
	// most maxFrame bytes (1 to [MaxFrame]). It also returns the options in force, defaults filled in. The error
	// wraps an [*OptionError] for each option that is at fault, all at once.
	Configure(options json.RawMessage, maxFrame int) (framing Framing, inForce json.RawMessage, err error)
}

// An OptionError says which option is at fault, and why.
type OptionError struct {
	Option string // path of the option, such as "terminator" or "map.0xC0"
	Got    string // the value, as the user wrote it where that is known; empty: the option is missing
	Want   string // what would be right, such as "1 to 64 bytes"
}

// Error gives the option, what was got and what was wanted.
func (e *OptionError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("option %s: want %s", e.Option, e.Want)
	}
	return fmt.Sprintf("option %s: got %s, want %s", e.Option, e.Got, e.Want)
}

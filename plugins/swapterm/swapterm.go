// Package swapterm is the codec for frames that end with a terminator. If the terminator occurs in the data, the frame ends
// with another one, which it declares before the payload.
//
//	payload T0                   a plain frame, ended by the usual terminator
//	marker T suffix payload T    a frame that declares the terminator that ends it
//
// With T0 = LF and marker = ESC:
//
//	"hi"      h i LF
//	"a LF b"  ESC | a LF b |
//	"ESC c"   ESC | ESC c |
//
// # When a frame is plain
//
// A frame ends at the first occurrence of its terminator. So a frame can be plain only under two conditions. First, the
// first T0 in "payload T0" is at the end. (It is not enough that T0 does not occur in the payload: "xa" can't be ended by
// "aa".) Second, "payload T0" can't be mistaken for a declaration: it neither begins with the marker nor is a beginning of
// the marker. The first condition also applies to a declared T. With declare: always no frame is plain, and a plain frame
// is a violation.
//
// # Scope
//
// With scope: frame a declared terminator ends only its own frame. With scope: stream it stays in force, in place of T0,
// until the next declaration; then neither the terminator nor the marker may be a prefix of the other. The terminator is
// part of the codec's state, which the host keeps. So frames depend on earlier frames, and such a codec is refused where
// each frame must be complete in itself, as in datagrams.
//
// # Violations
//
// A frame is too long if there is no terminator within the length of MaxFrame payload bytes and a terminator. Decoding can
// go on after the next occurrence of that terminator. If an empty frame is refused, decoding goes on at its end. A broken
// declaration does not show where its frame ends: no byte after it can be trusted.
package swapterm

import (
	"sync"

	"github.com/framehost/framehost/codecs"
)

// Codec is the codec "swapterm".
var Codec = codecs.New(codecs.Info{
	Name: "swapterm", Version: "1.0.0", StateVersion: 1,
	Description: "a terminator ends each frame, another one, declared before the payload, if it occurs there",
}, defaults, func(o *Options, maxFrame int) (codecs.Framing, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return newFraming(o, maxFrame), nil
})

// framing is a configured codec. Between calls it keeps only scratch memory.
type framing struct {
	terminator []byte // T0
	marker     []byte
	suffix     []byte
	length     int // of T
	always     bool
	stream     bool // a declared terminator stays in force for frames that declare none
	random     bool
	empty      codecs.Empty
	maxFrame   int

	pool    []byte // bytes for declared terminators, in the order of preference
	scratch sync.Pool
}

func newFraming(o *Options, maxFrame int) *framing {
	f := &framing{
		terminator: []byte(o.Terminator), marker: []byte(o.Marker), suffix: []byte(o.Suffix), length: o.Length,
		always: o.Declare == DeclareAlways, random: o.Choose == ChooseRandom, empty: o.Empty, maxFrame: maxFrame,
		pool: o.Pool.members(),
	}
	f.stream = o.Scope == ScopeStream && !f.always
	f.scratch.New = func() any { return &scratch{} }
	return f
}

// header returns the length of a declaration in bytes.
func (f *framing) header() int { return len(f.marker) + f.length + len(f.suffix) }

// MaxWire returns the length of the longest frame, plain or declared.
func (f *framing) MaxWire(maxFrame int) int {
	declared := f.header() + maxFrame + f.length
	if f.always {
		return declared
	}
	return max(declared, maxFrame+len(f.terminator))
}

// UsesState reports whether a declaration applies to later frames.
func (f *framing) UsesState() bool { return f.stream }

// endsFirst reports whether the first t in "payload t" is at its end.
func endsFirst(payload, t []byte) bool {
	if index(payload, t) >= 0 {
		return false
	}
	// A t that begins in payload extends into the t after it.
	var both [2 * longest]byte
	tail := payload[max(0, len(payload)-len(t)+1):]
	n := copy(both[:], tail)
	n += copy(both[n:], t)
	return index(both[:n], t) == len(tail)
}

// Package swapterm is the codec for frames that end with a terminator, another one if it occurs in the data: the frame
// then declares it before the payload.
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
// A frame ends at the first occurrence of its terminator. So it is plain only if the first T0 in "payload T0" is at the
// end (it is not enough that T0 doesn't occur in the payload: "xa" can't be ended by "aa"), and if "payload T0" can't
// be mistaken for a declaration: it doesn't begin with the marker, nor is it the beginning of the marker. A declared T
// keeps the first of these rules. With declare: always no frame is plain, and one that is, is a violation.
//
// # Scope
//
// With scope: frame a declared terminator ends its own frame. With scope: stream it stays in force, in place of T0,
// until the next declaration; neither it nor the marker may be a prefix of the other then. It is kept in the state that
// the host keeps for the codec. So frames depend on those before them, and such a codec is refused where each frame
// must stand for itself, as in datagrams.
//
// # Violations
//
// A frame is too long when MaxFrame payload bytes and a terminator behind them would have fitted and there was no
// terminator. Decoding can go on behind the next occurrence of it, and does so at the end of an empty frame that is
// refused. A broken declaration says nothing about where its frame ends: nothing behind it can be trusted.
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

// framing is the codec with its options in force. It keeps nothing between calls but memory to work in.
type framing struct {
	terminator []byte // T0
	marker     []byte
	suffix     []byte
	length     int // of T
	always     bool
	stream     bool // a declared terminator stays in force, and matters to frames that declare none
	random     bool
	empty      codecs.Empty
	maxFrame   int

	pool    []byte // what a declared terminator is made of, in the order of preference
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

// header returns how many bytes a declaration takes.
func (f *framing) header() int { return len(f.marker) + f.length + len(f.suffix) }

// MaxWire returns the length of the longest frame, plain or declared.
func (f *framing) MaxWire(maxFrame int) int {
	declared := f.header() + maxFrame + f.length
	if f.always {
		return declared
	}
	return max(declared, maxFrame+len(f.terminator))
}

// UsesState reports whether a declaration matters to later frames.
func (f *framing) UsesState() bool { return f.stream }

// endsFirst reports whether the first t in "payload t" is at its end.
func endsFirst(payload, t []byte) bool {
	if index(payload, t) >= 0 {
		return false
	}
	// One that begins in payload reaches into the t behind it.
	var both [2 * longest]byte
	tail := payload[max(0, len(payload)-len(t)+1):]
	n := copy(both[:], tail)
	n += copy(both[n:], t)
	return index(both[:n], t) == len(tail)
}

// Package escape is the codec for frames that end with a terminator, and in which byte stuffing keeps the terminator
// from occurring inside. Newlines, SLIP, PPP, DLE STX, mail and most of what comes over a serial line is of this kind.
//
//	start  body  terminator
//
// start is constant bytes, mostly none. The body is the payload, stuffed in one of five styles:
//
//	style      the payload a LF b \ with terminator LF    what it is for
//	map        a \ n b \ \ LF                              the escape and a byte that stands for another: SLIP, KISS
//	xor        a \ 2A b \ 7C LF                            the escape and the byte with bits inverted: PPP, HDLC
//	double     (terminator \ LF) a LF b \ \ \ LF           the escape twice, and terminators that begin with it: DLE STX
//	line_dot   (terminator CRLF . CRLF)                    lines, a dot before those that begin with one: mail
//	none       refused                                     payloads without terminators: text lines, MLLP
//
// # What a decoder reads
//
// A body is read from left to right. Bytes of ignore are dropped, as though they had never been sent. An escape takes
// the next byte with it, whatever it is. Among the other bytes, the accepted terminator that ends first ends the frame,
// and of several that end together the longest: with CRLF and LF accepted, a CR before LF is never payload. Each
// frame begins with start, and nothing else.
//
// So a terminator behind a pair of escape and byte never begins inside the pair, and neither start nor what came before
// it is part of one. What a decoder accepts has one meaning, and which fault it reports does not depend on how the
// wire was cut: it is the one at the first byte that can't be right. A frame is too long at the first byte with which
// its payload must exceed the limit, whatever follows; where bytes are ignored, also at the first that exceeds what the
// longest payload could need on the wire.
//
// A frame that was given up is discarded up to the end that would have been read, had nothing been wrong. The byte
// behind a broken escape counts by itself in this, so that a terminator there ends the frame.
//
// # What an encoder refuses
//
// Every frame that is written reads back as its payload. The styles map, xor and double write any payload, except that
// map and double can't write bytes that the receiver ignores (xor escapes them) unless the map has them. Style none
// refuses a payload in which an accepted terminator would end elsewhere than the frame does, or would take a part of
// the payload with it ("a CR" before LF, with CRLF accepted), and one that contains start. Style line_dot writes
// payloads that are empty or end in CRLF, and have CR and LF together only.
//
// With leading_terminator every frame has a terminator in front as well: an encoder remembers nothing, so it can't
// know that the line is quiet. A receiver takes it for an empty frame and skips it.
package escape

import "github.com/framehost/framehost/codecs"

// Codec is the codec "escape".
var Codec = codecs.New(codecs.Info{
	Name: "escape", Version: "1.0.0", StateVersion: 1,
	Description: "a terminator ends each frame, and byte stuffing keeps it from occurring inside",
}, defaults, func(o *Options, maxFrame int) (codecs.Framing, error) {
	r, err := o.check()
	if err != nil {
		return nil, err
	}
	return newFraming(r, maxFrame), nil
})

// framing is the codec with its options in force. It has no state but that of a decoder on its way to the end of a
// frame that was given up.
type framing struct {
	*rules
	style    style
	machine  *machine
	maxFrame int
	front    string // written in front of a body
	back     string // and behind it
	longest  int    // bytes of the longest terminator behind a body
	flat     bool   // a body is its own payload
	runs     bool   // see run
}

func newFraming(r *rules, maxFrame int) *framing {
	f := &framing{rules: r, style: newStyle(r), maxFrame: maxFrame, front: r.start, back: r.terminator}
	f.machine = f.style.machine()
	if r.leading {
		f.front = r.terminator
	}
	for _, t := range r.terminators {
		f.longest = max(f.longest, len(t))
	}
	if r.style == styleLineDot {
		f.back, f.longest = dotEnd, len(dotEnd)
	}
	f.flat = r.style == styleNone && r.ignore.n == 0
	f.runs = runnable(r)
	return f
}

// MaxWire returns the length of the longest frame: every byte stuffed that can be.
func (f *framing) MaxWire(maxFrame int) int {
	n := f.style.most(int64(maxFrame)) + int64(len(f.front)+f.longest)
	if f.abort {
		n++ // the escape in front of the terminator
	}
	return int(min(n, codecs.MaxWire))
}

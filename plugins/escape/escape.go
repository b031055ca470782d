// Package escape is the codec for frames that end with a terminator and use byte stuffing to keep the terminator out of
// payloads. Newlines, SLIP, PPP, DLE STX, mail and most serial protocols are of this kind.
//
//	start  body  terminator
//
// start is constant bytes, usually none. The body is the payload, stuffed in one of five styles:
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
// A decoder reads a body from left to right. It drops bytes of ignore, as if they had never been sent. An escape and the
// next byte, whatever it is, form a pair. Among the other bytes, the accepted terminator that ends first ends the frame; of
// several that end together, the longest does. So with CRLF and LF accepted, a CR before LF is never payload. Each
// frame begins with start, and with nothing else.
//
// So a terminator never begins inside a pair of escape and byte, and no byte of start or of an earlier frame is part of
// a terminator. Every wire that a decoder accepts has exactly one meaning. The reported fault does not depend on how the
// wire was cut: it is at the first byte that can't be right. A frame is too long at the first byte with which its payload
// must exceed the limit, whatever follows. If bytes are ignored, it is also too long at the first byte beyond the greatest
// length that the longest payload can have on the wire.
//
// After a fault the decoder discards bytes up to the end that the frame would have had without the fault. A byte after a
// broken escape counts by itself, so that a terminator there ends the frame.
//
// # What an encoder refuses
//
// Every frame that is written is read back as its payload. The styles map, xor and double write any payload, with one
// exception: map and double can't write bytes that the receiver ignores unless the map has them (xor escapes them). Style
// none refuses a payload that contains start, or in which an accepted terminator would end anywhere but at the end of the
// frame, or would include a part of the payload (a CR at the end before LF, with CRLF accepted). Style line_dot writes
// only payloads that are empty or end in CRLF, and that contain CR and LF only together.
//
// With leading_terminator every frame also has a terminator before it. An encoder keeps nothing between calls, so it can't
// know whether the line was quiet. A receiver reads that terminator as an empty frame and skips it.
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

// framing is a configured codec. Its only state is that of a decoder that discards the rest of a frame that was given up.
type framing struct {
	*rules
	style    style
	machine  *machine
	maxFrame int
	front    string // written before a body
	back     string // written after a body
	longest  int    // length in bytes of the longest terminator after a body
	flat     bool   // every body equals its payload
	runs     bool   // run can be used; see runnable
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

// MaxWire returns the length of the longest frame: one in which every byte is stuffed that can be.
func (f *framing) MaxWire(maxFrame int) int {
	n := f.style.most(int64(maxFrame)) + int64(len(f.front)+f.longest)
	if f.abort {
		n++ // the escape before the terminator
	}
	return int(min(n, codecs.MaxWire))
}

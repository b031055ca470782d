package escape

import (
	"bytes"

	"github.com/framehost/framehost/codecs"
)

// runnable reports whether frames can be taken by run: nothing in front of a body or ignored, one terminator of one
// byte, and a style in which a frame without an escape is its own payload.
func runnable(r *rules) bool {
	return r.start == "" && r.ignore.n == 0 && len(r.terminators) == 1 && len(r.terminator) == 1 &&
		(r.style == styleMap || r.style == styleXor || r.style == styleNone)
}

// run takes the frames at the front of wire[pos:] up to one that is anything but plain, and returns where that one
// begins. It does nothing that frame doesn't do; short frames take a third of the time.
func (d *decoding) run(pos int) int {
	wire, terminator := d.in.Bytes, d.terminator[0]
	for {
		n := bytes.IndexByte(wire[pos:], terminator)
		if n < 0 || n > d.in.MaxFrame || n == 0 && d.empty != codecs.EmptyDeliver {
			return pos
		}
		if d.escaped < pos { // the last one is behind us
			d.escaped = len(wire)
			if at := bytes.IndexByte(wire[pos:], d.escape); at >= 0 {
				d.escaped = pos + at
			}
		}
		if d.escaped < pos+n || d.out.Refer(pos, pos+n) != nil {
			return pos
		}
		pos += n + 1
	}
}

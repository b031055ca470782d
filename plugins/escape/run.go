package escape

import (
	"bytes"

	"github.com/framehost/framehost/codecs"
)

// runnable reports whether run can be used: nothing precedes a body or is ignored, the only terminator is one byte, and
// in the style a frame without an escape is its own payload.
func runnable(r *rules) bool {
	return r.start == "" && r.ignore.n == 0 && len(r.terminators) == 1 && len(r.terminator) == 1 &&
		(r.style == styleMap || r.style == styleXor || r.style == styleNone)
}

// run delivers the frames at the front of wire[pos:] up to the first that is not plain, and returns where that frame begins.
// It has the same result as frame, but short frames take a third of the time.
func (d *decoding) run(pos int) int {
	wire, terminator := d.in.Bytes, d.terminator[0]
	for {
		n := bytes.IndexByte(wire[pos:], terminator)
		if n < 0 || n > d.in.MaxFrame || n == 0 && d.empty != codecs.EmptyDeliver {
			return pos
		}
		if d.escaped < pos { // pos is past the escape found last
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

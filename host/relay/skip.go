package relay

import (
	"errors"
	"io"

	"github.com/framehost/framehost/codecs"
)

// violated deals with a fault in shown, of which consumed bytes were taken before it. It is done when decoding does not
// go on here.
func (r *reception) violated(fault *codecs.Fault, shown []byte, consumed int, v *Violation, eof bool) (done bool, err error) {
	r.owner.wait() // the payloads before it arrive first
	if r.owner.over() {
		return true, errOver
	}
	r.counts.violations.Add(1)
	truncated := eof && errors.Is(fault.Err, codecs.ErrTruncated)
	v.Skipped = r.owner.skips() && (truncated || fault.Resume != codecs.Never)
	r.kept = r.owner.report(v)
	if !v.Skipped {
		r.keep(shown[fault.Offset:])
		r.keepNoMore()
		reason := Violated
		if truncated {
			reason = FinMidFrame
		}
		return true, r.owner.fail(reason, v)
	}
	resume := fault.Resume
	if truncated {
		r.counts.droppedTails.Add(1)
		resume = len(shown)
	}
	r.decode.Examined, r.decode.Left, r.need, r.frameSpent = 0, 0, 0, 0
	r.drop(fault.Offset - consumed) // what lies before the faulty frame is none of it
	r.discard = int64(resume - fault.Offset)
	r.dropDiscarded()
	if eof && r.discard > 0 {
		r.discard = 0
		r.keepNoMore()
		return true, nil
	}
	return truncated, nil
}

// dropDiscarded drops what is in the inbox and to be skipped.
func (r *reception) dropDiscarded() {
	n := int(min(r.discard, int64(r.inbox.len())))
	if n > 0 {
		r.keep(r.inbox.bytes()[:n])
		r.drop(n)
		r.discard -= int64(n)
	}
	if r.discard == 0 {
		r.keepNoMore()
	}
}

func (r *reception) drop(n int) {
	r.inbox.consume(n)
	r.offset += int64(n)
	r.counts.bytesSkipped.Add(int64(n))
}

// keep keeps p where the violation at hand has a place for it.
func (r *reception) keep(p []byte) { keep(r.kept, p) }

func (r *reception) keepNoMore() {
	if r.kept != nil {
		_ = r.kept.Close() // its errors are its own affair
		r.kept = nil
	}
}

func keep(w io.Writer, p []byte) {
	if w != nil && len(p) > 0 {
		_, _ = w.Write(p) // likewise
	}
}

package relay

import (
	"errors"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
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
	r.openKept(v)
	if !v.Skipped {
		r.keep(shown[fault.Offset:])
		r.keepNoMore()
		r.owner.keeper().report(v)
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
	r.inbox.consume(fault.Offset - consumed) // what lies before the faulty frame is none of it
	r.offset += int64(fault.Offset - consumed)
	r.discard = int64(resume - fault.Offset)
	r.dropDiscarded()
	r.owner.keeper().report(v)
	if eof && r.discard > 0 {
		r.discard = 0
		return true, nil
	}
	return truncated, nil
}

// skipped deals with a fault that was skipped within the call of b. The payloads before it may arrive later than it is reported.
func (r *reception) skipped(fault *codeccall.SkippedFault, b *batch) {
	r.counts.violations.Add(1)
	v := r.faulty(b.offset, b.frame+int64(fault.Payloads), &fault.Fault, b.shown)
	v.Skipped = true
	r.openKept(v)
	r.skip(b.shown[fault.Offset : fault.Resume+fault.Dropped])
	r.owner.keeper().report(v)
}

// dropDiscarded drops what is in the inbox and to be skipped.
func (r *reception) dropDiscarded() {
	n := int(min(r.discard, int64(r.inbox.len())))
	if n == 0 {
		return
	}
	r.skip(r.inbox.bytes()[:n])
	r.inbox.consume(n)
	r.offset += int64(n)
	r.discard -= int64(n)
}

// skip counts p, which is the next of what is dropped after a violation, and keeps it where that is wanted.
func (r *reception) skip(p []byte) {
	r.counts.bytesSkipped.Add(int64(len(p)))
	r.keep(p)
}

// openKept opens where the bytes of v are kept. A violation that begins where the bytes of the one before it end is one
// with it: what is skipped in a row is kept in a row.
func (r *reception) openKept(v *Violation) {
	if r.kept == nil || r.keptTo != v.Offset {
		r.keepNoMore()
		r.owner.keeper().open(v)
		r.kept, r.keptTo = v.Kept, v.Offset
	}
	v.Kept = r.kept
}

func (r *reception) keep(p []byte) {
	if r.kept != nil && len(p) > 0 {
		_, _ = r.kept.Write(p) // its errors are its own affair
		r.keptTo += int64(len(p))
	}
}

func (r *reception) keepNoMore() {
	if r.kept != nil {
		_ = r.kept.Close() // likewise
		r.kept = nil
	}
}

// keptFor keeps open what is kept as long as more of it may come: the codec is in the state in which it discards a frame,
// or goes on with another fault.
func (r *reception) keptFor(found int, consumed, dropped int, fault bool) {
	if r.kept != nil && (found > 0 || dropped < consumed || len(r.state) == 0 && !fault) {
		r.keepNoMore()
	}
}

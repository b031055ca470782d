package relay

import (
	"errors"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// violated handles a fault in shown; consumed bytes were consumed before it. done means that decoding does not go on here.
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
	r.inbox.consume(fault.Offset - consumed) // bytes before the faulty frame are not part of it
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

// skipped handles a fault that was skipped within the call of b. It may report the fault before the payloads in front of it are
// delivered.
func (r *reception) skipped(fault *codeccall.SkippedFault, b *batch) {
	r.counts.violations.Add(1)
	v := r.faulty(b.offset, b.frame+int64(fault.Payloads), &fault.Fault, b.shown)
	v.Skipped = true
	r.openKept(v)
	r.skip(b.shown[fault.Offset : fault.Resume+fault.Dropped])
	r.owner.keeper().report(v)
}

// dropDiscarded drops those bytes of the inbox that are to be skipped.
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

// skip counts p, the next bytes that are dropped after a violation, and keeps them if the policy is Quarantine.
func (r *reception) skip(p []byte) {
	r.counts.bytesSkipped.Add(int64(len(p)))
	r.keep(p)
}

// openKept opens the writer that keeps the bytes of v. If v begins where the bytes of the violation before it end, both share
// one writer.
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
		_, _ = r.kept.Write(p) // see Config.Quarantine for its errors
		r.keptTo += int64(len(p))
	}
}

func (r *reception) keepNoMore() {
	if r.kept != nil {
		_ = r.kept.Close() // likewise
		r.kept = nil
	}
}

// keptFor closes the writer of kept bytes unless more bytes may follow: the codec is in a state in which it discards a frame, or
// the call ended with another fault.
func (r *reception) keptFor(found int, consumed, dropped int, fault bool) {
	if r.kept != nil && (found > 0 || dropped < consumed || len(r.state) == 0 && !fault) {
		r.keepNoMore()
	}
}

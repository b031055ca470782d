package relay

import "github.com/framehost/framehost/codecs/codecstream"

// Fault reports a fault that ended a call, and skips it if the policy says so.
func (r *streamDecoder) Fault(f *codecstream.Fault) (goOn bool, err error) {
	r.owner.wait() // the payloads before the fault are written first
	if r.owner.over() {
		return false, errOver
	}
	r.counts.violations.Add(1)
	v := r.violation(f)
	v.Skipped = r.owner.skips() && !f.Final
	r.openKept(v)
	if !v.Skipped {
		r.keep(f.Wire[f.Offset:])
		r.keepNoMore()
		r.owner.keeper().report(v)
		reason := Violated
		if f.Truncated {
			reason = FinMidFrame
		}
		return false, r.owner.fail(reason, v)
	}
	if f.Truncated {
		r.counts.droppedTails.Add(1)
	}
	r.frameSpent = 0
	r.skip(f.Dropped)
	r.owner.keeper().report(v)
	return true, nil
}

// skipped reports a fault that was skipped within a call. The payloads before the fault may be delivered later.
func (r *streamDecoder) skipped(f *codecstream.Fault) {
	r.counts.violations.Add(1)
	v := r.violation(f)
	v.Skipped = true
	r.openKept(v)
	r.skip(f.Dropped)
	r.owner.keeper().report(v)
}

func (r *streamDecoder) violation(f *codecstream.Fault) *Violation {
	return wireViolation(r.direction, f, r.longestFrom, r.owner.keeper().wireBytes)
}

// Drop skips more bytes of a frame that an earlier fault has dropped.
func (r *streamDecoder) Drop(p []byte) { r.skip(p) }

// skip counts p, the next bytes that are dropped because of a violation, and keeps them if the policy is Quarantine.
func (r *streamDecoder) skip(p []byte) {
	r.counts.bytesSkipped.Add(int64(len(p)))
	r.keep(p)
}

// openKept opens the writer for the dropped bytes of v. If v begins where the dropped bytes of the violation before it end, both share
// one writer.
func (r *streamDecoder) openKept(v *Violation) {
	if r.kept == nil || r.keptTo != v.Offset {
		r.keepNoMore()
		r.owner.keeper().open(v)
		r.kept, r.keptTo = v.Kept, v.Offset
	}
	v.Kept = r.kept
}

func (r *streamDecoder) keep(p []byte) {
	if r.kept != nil && len(p) > 0 {
		_, _ = r.kept.Write(p) // see Config.Quarantine for its errors
		r.keptTo += int64(len(p))
	}
}

func (r *streamDecoder) keepNoMore() {
	if r.kept != nil {
		_ = r.kept.Close() // likewise
		r.kept = nil
	}
}

// keptFor closes the writer of kept bytes, unless more bytes may follow: if the codec is in a state in which it discards a frame, or if
// the call ended with another fault.
func (r *streamDecoder) keptFor(found int, consumed, dropped int, fault bool) {
	if r.kept != nil && (found > 0 || dropped < consumed || len(r.decoder.State()) == 0 && !fault) {
		r.keepNoMore()
	}
}

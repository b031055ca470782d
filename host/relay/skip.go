package relay

import (
	"errors"
	"io"

	"github.com/framehost/framehost/codecs"
)

// violated deals with a fault in shown, of which consumed bytes were taken before it. It is done when decoding does not
// go on here.
func (f *flow) violated(fault *codecs.Fault, shown []byte, consumed int, v *Violation, eof bool) (done bool, err error) {
	f.wait() // the payloads before it arrive first
	if f.session.over.Load() {
		return true, errOver
	}
	f.counts.violations.Add(1)
	truncated := eof && errors.Is(fault.Err, codecs.ErrTruncated)
	v.Skipped = f.session.skips() && (truncated || fault.Resume != codecs.Never)
	f.kept = f.session.report(v)
	if !v.Skipped {
		f.keep(shown[fault.Offset:])
		f.keepNoMore()
		reason := Violated
		if truncated {
			reason = FinMidFrame
		}
		return true, f.fail(reason, v)
	}
	resume := fault.Resume
	if truncated {
		f.counts.droppedTails.Add(1)
		resume = len(shown)
	}
	f.decode.Examined, f.decode.Left, f.need, f.frameSpent = 0, 0, 0, 0
	f.drop(fault.Offset - consumed) // what lies before the faulty frame is none of it
	f.discard = int64(resume - fault.Offset)
	f.dropDiscarded()
	if eof && f.discard > 0 {
		f.discard = 0
		f.keepNoMore()
		return true, nil
	}
	return truncated, nil
}

// dropDiscarded drops what is in the inbox and to be skipped.
func (f *flow) dropDiscarded() {
	n := int(min(f.discard, int64(f.inbox.len())))
	if n > 0 {
		f.keep(f.inbox.bytes()[:n])
		f.drop(n)
		f.discard -= int64(n)
	}
	if f.discard == 0 {
		f.keepNoMore()
	}
}

func (f *flow) drop(n int) {
	f.inbox.consume(n)
	f.offset += int64(n)
	f.counts.bytesSkipped.Add(int64(n))
}

// keep keeps p where the violation at hand has a place for it.
func (f *flow) keep(p []byte) { keep(f.kept, p) }

func (f *flow) keepNoMore() {
	if f.kept != nil {
		_ = f.kept.Close() // its errors are its own affair
		f.kept = nil
	}
}

func keep(w io.Writer, p []byte) {
	if w != nil && len(p) > 0 {
		_, _ = w.Write(p) // likewise
	}
}

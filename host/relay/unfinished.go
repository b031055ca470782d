package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// unfinishedTimeout is the time limit of the call that finds out what an unfinished frame lacks.
const unfinishedTimeout = time.Second

// unfinished returns a Violation that describes the unfinished frame in the inbox, or nil if there is none.
func (r *streamDecoder) unfinished() *Violation {
	held := r.inbox.Bytes()
	if len(held) == 0 || r.decoder.Direction == nil {
		return nil
	}
	v := &Violation{
		Direction: r.direction, Offset: r.decoder.Offset(), At: r.decoder.Offset() + int64(len(held)), Frame: r.counts.framesIn.Load(),
		Err: ErrUnfinished, Want: r.lacks(held), Held: len(held),
	}
	v.show(held, 0, r.owner.keeper().wireBytes)
	return v
}

// lacks returns a description of the missing part of held, an unfinished frame. It decodes held as if the stream ended there: the
// codec's fault then says what is missing.
func (r *streamDecoder) lacks(held []byte) string {
	ctx, cancel := context.WithTimeout(context.Background(), unfinishedTimeout)
	defer cancel()
	in := codeccall.Decode{Wire: held, EOF: true, State: r.decoder.State(), Room: len(held) + smallRead}
	var out codeccall.Decoded
	want := "the rest of the frame"
	if err := r.decoder.Direction.Decode(ctx, &in, &out); err == nil && out.Fault != nil && errors.Is(out.Fault.Err, codecs.ErrTruncated) {
		want = out.Fault.Want
	}
	if missing := r.decoder.Need() - len(held); missing > 0 {
		want += fmt.Sprintf(", %d bytes more at least", missing)
	}
	return want
}

// explainTimeout reports the unfinished frame and adds it to the outcome, if the outcome is a frame timeout of this sender. The reader
// calls it, so no other goroutine uses the inbox at that time.
func (r *streamDecoder) explainTimeout(o *outcome) {
	if reason, direction, _ := o.decided(); reason != FrameTimeout || direction != r.direction {
		return
	}
	if v := r.unfinished(); v != nil {
		o.explain(v)
		r.owner.keeper().report(v)
	}
}

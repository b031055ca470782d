package codecstream

import (
	"context"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A FrameSink receives the results of an Encoder. Its methods are called one at a time. The first error ends the Encoder's
// call, which returns it.
type FrameSink interface {
	// Prepare completes the call in that is about to be made, and returns out for its result. The slices of out are reused.
	// Prepare sets in.Room to at least in.RoomNeeded, may set in.Borrow, and changes nothing else of in.
	Prepare(in *codeccall.Encode) (out *codeccall.Encoded, err error)
	// Frames receives the result of a call: the frames of the payloads from index first on. If it returns an error, done is
	// how many of those payloads it has handled nevertheless.
	Frames(out *codeccall.Encoded, first int) (done int, err error)
	// Refused reports that payload number index can't be encoded, for the reason in fault. If Refused returns nil, the
	// payload is left out and encoding goes on; an error ends the call.
	Refused(index int, fault *codecs.Fault) error
}

// Payloads are the input of an Encoder.
type Payloads struct {
	Wire, Data []byte         // Refs are positions in Wire followed by Data, as in [codeccall.Encode]
	Refs       []codecs.Ref   // the payloads, in order
	Lent       codeccall.Loan // the memory in which Wire lies, if a Lender lent it; else nil
}

// An Encoder encodes one stream. It must not be used by several goroutines at once.
type Encoder struct {
	Direction codeccall.Direction
	// MaxFrame is the longest payload to encode, in bytes. A longer one is refused and not shown to the codec: encoders need
	// not know the limit. 0: no limit; the codec decides.
	MaxFrame int
	// Longest is the length in bytes of the longest payload that the caller will pass; 0: not known.
	Longest int

	call  codeccall.Encode // the zero value between calls
	state []byte
}

// Encode encodes payloads. It returns how many of them are done, that is written or left out: all, unless it returns an
// error of sink or of the codec's Direction.
func (e *Encoder) Encode(ctx context.Context, payloads *Payloads, sink FrameSink) (done int, err error) {
	return e.encode(ctx, payloads, sink, false)
}

// End encodes payloads, which may be empty, and the bytes that end a stream. Nothing may be encoded after it.
func (e *Encoder) End(ctx context.Context, payloads *Payloads, sink FrameSink) (done int, err error) {
	return e.encode(ctx, payloads, sink, true)
}

func (e *Encoder) encode(ctx context.Context, payloads *Payloads, sink FrameSink, eof bool) (done int, err error) {
	defer func() { e.call = codeccall.Encode{} }()
	roomNeeded := 0
	for refs := payloads.Refs; len(refs) > 0 || eof; refs = payloads.Refs[done:] {
		fits := e.fitting(refs)
		if fits == 0 && len(refs) > 0 {
			if err := sink.Refused(done, codeccall.PayloadTooLong(e.MaxFrame)); err != nil {
				return done, err
			}
			done++
			continue
		}
		last := eof && fits == len(refs)
		e.call = codeccall.Encode{
			Wire: payloads.Wire, Data: payloads.Data, Refs: refs[:fits], Lent: payloads.Lent,
			EOF: last, State: e.state, RoomNeeded: roomNeeded,
		}
		out, err := sink.Prepare(&e.call)
		if err != nil {
			return done, err
		}
		if err := e.Direction.Encode(ctx, &e.call, out); err != nil {
			return done, err
		}
		e.state = append(e.state[:0], out.State...)
		taken, more, fault := out.Taken(), out.More, out.Fault
		roomNeeded = out.RoomNeeded
		if n, err := sink.Frames(out, done); err != nil {
			return done + n, err
		}
		done += taken
		switch {
		case fault != nil:
			if err := sink.Refused(done, fault); err != nil {
				return done, err
			}
			done++
		case last && !more:
			return done, nil
		}
	}
	return done, nil
}

// fitting returns how many of refs precede the first payload that is too long.
func (e *Encoder) fitting(refs []codecs.Ref) int {
	most := e.MaxFrame
	if most == 0 || e.Longest > 0 && e.Longest <= most {
		return len(refs)
	}
	for i := range refs {
		if uint64(refs[i].Len) > uint64(most) {
			return i
		}
	}
	return len(refs)
}

package codecstream

import (
	"context"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A FrameSink is where the results of an Encoder go. Its methods are called by turns, and the first error ends the Encoder's
// call, which returns it.
type FrameSink interface {
	// Prepare completes a call that is about to be made, and returns where its result goes; the result's slices are used again.
	// It sets in.Room to at least in.RoomNeeded, and may set Borrow. It changes nothing else of in.
	Prepare(in *codeccall.Encode) (out *codeccall.Encoded, err error)
	// Frames takes the result of a call: the frames of payloads from number first on. With an error it returns how many of
	// the payloads are done all the same.
	Frames(out *codeccall.Encoded, first int) (done int, err error)
	// Refused says with an error that encoding does not go on after payload number index, which can't be a frame for the reason of
	// fault. Otherwise the payload is left out.
	Refused(index int, fault *codecs.Fault) error
}

// Payloads are what an Encoder is to encode.
type Payloads struct {
	Wire, Data []byte         // what Refs count through, as for [codeccall.Encode]
	Refs       []codecs.Ref   // the payloads, in order
	Lent       codeccall.Loan // what Wire lies in, if that was lent
}

// An Encoder encodes one stream. It is for one goroutine at a time.
type Encoder struct {
	Direction codeccall.Direction
	// MaxFrame is how many bytes a payload may have. A longer one is refused, and not shown to the codec: encoders need not
	// know of the limit. 0: the codec decides.
	MaxFrame int
	// Longest is how many bytes the longest payload has that is handed over; 0: not known.
	Longest int

	call  codeccall.Encode // slices are nil between calls, but for State
	state []byte
}

// Encode encodes payloads. It returns how many of them are done, written or left out: all, unless there is an error, which is
// that of sink or of the codec's Direction.
func (e *Encoder) Encode(ctx context.Context, payloads *Payloads, sink FrameSink) (done int, err error) {
	return e.encode(ctx, payloads, sink, false)
}

// End encodes payloads, if there are any, and what ends a stream. Nothing is encoded after it.
func (e *Encoder) End(ctx context.Context, payloads *Payloads, sink FrameSink) (done int, err error) {
	return e.encode(ctx, payloads, sink, true)
}

func (e *Encoder) encode(ctx context.Context, payloads *Payloads, sink FrameSink, eof bool) (done int, err error) {
	defer func() { e.call = codeccall.Encode{} }()
	roomNeeded := 0
	for refs := payloads.Refs; len(refs) > 0 || eof; refs = payloads.Refs[done:] {
		fits := e.fitting(refs)
		if fits == 0 && len(refs) > 0 {
			if err := sink.Refused(done, TooLong(e.MaxFrame)); err != nil {
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

// fitting returns how many of refs precede the first that is too long.
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

// TooLong returns the fault of a payload that has more than maxFrame bytes.
func TooLong(maxFrame int) *codecs.Fault {
	return &codecs.Fault{At: maxFrame, Err: codecs.ErrTooLong, Want: fmt.Sprintf("a payload of at most %d bytes", maxFrame)}
}

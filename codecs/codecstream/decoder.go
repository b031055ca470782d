package codecstream

import (
	"context"
	"errors"
	"slices"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A Source holds the bytes of a stream that have arrived and were not consumed.
type Source interface {
	// Bytes returns all of those bytes.
	Bytes() []byte
	// Consume drops the first n bytes. The slice that Bytes returned before stays valid until the next call of Sink.Found
	// or Sink.Fault has returned.
	Consume(n int)
}

// A Sink receives the results of a Decoder. Its methods are called one at a time: for each call of the codec Prepare, then
// Found, then Fault if a fault ended the call. The first error ends Decode, which returns it.
type Sink interface {
	// Prepare completes the call in that is about to be made, and returns out for its result. The slices of out are reused.
	// Prepare sets in.Room to at least in.RoomNeeded, may set Skips, Patient, Lent and Borrow, which are zero, and changes
	// nothing else of in.
	Prepare(in *codeccall.Decode) (out *codeccall.Decoded, err error)
	// Found receives the result of a call.
	Found(r *Result) error
	// Fault reports whether decoding goes on after f, which ended a call. It must return false if f is Final. If goOn is
	// false and err is nil, Decode returns nil.
	Fault(f *Fault) (goOn bool, err error)
	// Drop receives bytes that belong to the frame of the last fault and that had not arrived when Fault was called.
	Drop(p []byte)
}

// A Result is the result of a call and its place in the stream.
type Result struct {
	Wire   []byte         // the bytes shown to the call
	EOF    bool           // the stream ends after Wire
	State  []byte         // the codec's state before the call; valid until Found returns
	Offset int64          // of Wire in the stream, in bytes
	Frame  int64          // number of payloads in the stream before this result
	Last   bool           // no fault follows, and no further call before more bytes have arrived
	Lent   codeccall.Loan // the memory in which Wire lies, if Prepare set it
	*codeccall.Decoded
}

// Payload returns payload i. It is valid as long as Wire and Data are.
func (r *Result) Payload(i int) []byte {
	batch := codecs.Batch{Wire: r.Wire, Data: r.Data, Refs: r.Refs}
	return batch.At(i)
}

// SkippedFault returns number i of the faults that the call skipped.
func (r *Result) SkippedFault(i int) Fault {
	f := &r.SkippedFaults[i]
	return Fault{
		Fault: &f.Fault, Wire: r.Wire, Begin: r.Offset, Frame: r.Frame + int64(f.Payloads),
		Dropped: r.Wire[f.Offset : f.Resume+f.Dropped],
	}
}

// A Fault is a fault and its place in the stream.
type Fault struct { //nolint:errname // the project's word is fault
	*codecs.Fault // whose positions count from the first byte of Wire

	Wire  []byte // the bytes shown to the call
	Begin int64  // offset of Wire in the stream, in bytes
	Frame int64  // number of payloads in the stream before the fault
	// Dropped are the bytes of Wire that are lost if decoding goes on: from the faulty frame's first byte to Resume, or to
	// the end of Wire if Resume lies beyond.
	Dropped   []byte
	Truncated bool // the stream ended inside the frame
	Final     bool // decoding can't go on
}

// A Decoder decodes one stream. It must not be used by several goroutines at once. The zero value needs a Direction.
type Decoder struct {
	Direction codeccall.Direction

	call    codeccall.Decode // Wire and Lent are nil between calls
	result  Result           // of the call under way
	state   []byte           // the codec's state
	before  []byte           // the codec's state before the call under way
	offset  int64            // of the Source's first byte in the stream
	frames  int64            // payloads found
	need    int              // fewer bytes can't be decoded
	discard int64            // bytes of a faulty frame that are still to be dropped
}

// Decode decodes the bytes of source until the codec waits for more. With eof the stream ends after those bytes: Decode
// decodes them all and must not be called again. It returns the errors of sink and of the codec's Direction.
func (d *Decoder) Decode(ctx context.Context, source Source, sink Sink, eof bool) error {
	d.drop(source, sink)
	if d.discard > 0 {
		return nil // if the stream ends here, it ends inside a faulty frame that was already reported
	}
	defer func() { d.result = Result{} }()
	for roomNeeded := 0; ; {
		wire := source.Bytes()
		if !eof && (len(wire) == 0 || len(wire) < d.need) {
			return nil
		}
		if err := d.makeCall(ctx, wire, eof, roomNeeded, sink); err != nil {
			return err
		}
		more, fault, consumed := d.result.More, d.result.Fault, d.result.Consumed
		roomNeeded = d.result.RoomNeeded
		d.apply(source)
		if err := sink.Found(&d.result); err != nil {
			return err
		}
		switch {
		case fault != nil:
			f := d.located(fault, wire, consumed, eof)
			if goOn, err := sink.Fault(f); !goOn || err != nil {
				return err
			}
			if d.skip(f, consumed, source); f.Truncated || eof && d.discard > 0 {
				return nil
			}
		case !more:
			return nil
		}
	}
}

// makeCall makes one call, and sets d.result.
func (d *Decoder) makeCall(ctx context.Context, wire []byte, eof bool, roomNeeded int, sink Sink) error {
	c := &d.call
	*c = codeccall.Decode{
		Wire: wire, Examined: c.Examined, EOF: eof, State: d.state, Need: d.need, RoomNeeded: roomNeeded, Left: c.Left,
	}
	defer func() { c.Wire, c.Lent = nil, nil }()
	out, err := sink.Prepare(c)
	if err != nil {
		return err
	}
	d.result = Result{Wire: wire, EOF: eof, Offset: d.offset, Frame: d.frames, Lent: c.Lent, Decoded: out}
	return d.Direction.Decode(ctx, c, out)
}

// apply applies the result of a call to d and source.
func (d *Decoder) apply(source Source) {
	r := &d.result
	d.before, d.state = d.state, d.before
	d.state = append(d.state[:0], r.Decoded.State...)
	r.State = d.before
	r.Last = !r.More && r.Fault == nil
	d.call.Examined = r.Examined - r.Consumed
	d.call.Left = len(r.Wire) - r.Consumed
	d.need = r.Need
	d.frames += int64(len(r.Refs))
	d.consume(source, r.Consumed)
}

// located returns fault with its place in the stream. The call was shown wire and consumed that many bytes of it.
func (d *Decoder) located(fault *codecs.Fault, wire []byte, consumed int, eof bool) *Fault {
	f := &Fault{Fault: fault, Wire: wire, Begin: d.offset - int64(consumed), Frame: d.frames}
	f.Truncated = eof && errors.Is(fault.Err, codecs.ErrTruncated)
	f.Final = fault.Resume == codecs.Never && !f.Truncated
	end := len(wire)
	if fault.Resume != codecs.Never && !f.Truncated {
		end = min(end, fault.Resume)
	}
	f.Dropped = wire[fault.Offset:end]
	return f
}

// skip moves on past f, which ended a call that consumed that many bytes.
func (d *Decoder) skip(f *Fault, consumed int, source Source) {
	d.call.Examined, d.call.Left, d.need = 0, 0, 0
	d.consume(source, f.Offset-consumed+len(f.Dropped)) // bytes before the faulty frame belong to no frame
	if !f.Truncated {
		d.discard = int64(f.Resume - f.Offset - len(f.Dropped))
	}
}

// drop drops the bytes of source that belong to the frame of an earlier fault.
func (d *Decoder) drop(source Source, sink Sink) {
	wire := source.Bytes()
	n := int(min(d.discard, int64(len(wire))))
	if n == 0 {
		return
	}
	sink.Drop(wire[:n])
	d.consume(source, n)
	d.discard -= int64(n)
}

func (d *Decoder) consume(source Source, n int) {
	source.Consume(n)
	d.offset += int64(n)
}

// Reset prepares d for another stream of the same Direction.
func (d *Decoder) Reset() {
	*d = Decoder{Direction: d.Direction, state: d.state[:0], before: d.before[:0]}
}

// Fork returns an independent Decoder in the same state, with the same Direction. It needs a Source with the same bytes.
func (d *Decoder) Fork() *Decoder {
	d.call.Left = 0 // which of the two makes the Direction's next call is not known
	f := *d
	f.state, f.before = slices.Clone(d.state), nil
	return &f
}

// Offset returns the offset of the Source's first byte in the stream.
func (d *Decoder) Offset() int64 { return d.offset }

// State returns the codec's state, valid until the next call of Decode.
func (d *Decoder) State() []byte { return d.state }

// Examined returns how many of the Source's first bytes the codec has already searched.
func (d *Decoder) Examined() int { return d.call.Examined }

// Need returns how many bytes the Source must have before the codec can find anything; 0: not known.
func (d *Decoder) Need() int { return d.need }

// Dropping reports whether bytes of a faulty frame are still to be dropped.
func (d *Decoder) Dropping() bool { return d.discard > 0 }

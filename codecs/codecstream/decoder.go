package codecstream

import (
	"context"
	"errors"
	"slices"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A Source has the bytes of a stream that have arrived and were not consumed.
type Source interface {
	// Bytes returns them.
	Bytes() []byte
	// Consume drops the first n of them. What Bytes returned before stays valid until the call of Sink.Found or Sink.Fault that
	// follows has returned.
	Consume(n int)
}

// A Sink is where the results of a Decoder go. Its methods are called by turns: for each call of the codec Prepare, then Found,
// then Fault if a fault ended the call. The first error ends Decode, which returns it.
type Sink interface {
	// Prepare completes a call that is about to be made, and returns where its result goes; the result's slices are used again.
	// It sets in.Room to at least in.RoomNeeded, and may set Skips, Patient, Lent and Borrow, which are zero. It changes
	// nothing else of in.
	Prepare(in *codeccall.Decode) (out *codeccall.Decoded, err error)
	// Found takes the result of a call.
	Found(r *Result) error
	// Fault says whether decoding goes on after a fault that ended a call. It must not say so of one that is Final. Where
	// decoding does not go on and there is no error, Decode returns nil.
	Fault(f *Fault) (goOn bool, err error)
	// Drop is given bytes that the last fault takes with it, and that had not arrived when Fault was called.
	Drop(p []byte)
}

// A Result is what a call found, and where.
type Result struct {
	Wire   []byte         // what the call was shown
	EOF    bool           // nothing follows Wire
	State  []byte         // the codec's before the call; valid until Found returns
	Offset int64          // of Wire in the stream, in bytes
	Frame  int64          // payloads of the stream before those of the result
	Last   bool           // no fault follows, and no other call before more bytes have arrived
	Lent   codeccall.Loan // what Wire lies in, where Prepare said so
	*codeccall.Decoded
}

// Payload returns payload i. It is valid as long as Wire and Data are.
func (r *Result) Payload(i int) []byte {
	batch := codecs.Batch{Wire: r.Wire, Data: r.Data, Refs: r.Refs}
	return batch.At(i)
}

// SkippedFault returns the fault i of those that the call skipped.
func (r *Result) SkippedFault(i int) Fault {
	f := &r.SkippedFaults[i]
	return Fault{
		Fault: &f.Fault, Wire: r.Wire, Begin: r.Offset, Frame: r.Frame + int64(f.Payloads),
		Dropped: r.Wire[f.Offset : f.Resume+f.Dropped],
	}
}

// A Fault is a fault and its place in the stream.
type Fault struct { //nolint:errname // a fault by the word for it everywhere
	*codecs.Fault // whose positions count from the first byte of Wire

	Wire  []byte // what the call was shown
	Begin int64  // of Wire in the stream, in bytes
	Frame int64  // payloads of the stream before the fault
	// Dropped are the bytes of Wire that are lost where decoding goes on: from the faulty frame's first one to where it goes on,
	// or to the end of Wire.
	Dropped   []byte
	Truncated bool // the end of the stream cut the frame off
	Final     bool // decoding can't go on
}

// A Decoder decodes one stream. It is for one goroutine at a time. The zero value needs a Direction.
type Decoder struct {
	Direction codeccall.Direction

	call    codeccall.Decode // Wire and Lent are nil between calls
	result  Result           // of the call under way
	state   []byte           // of the codec
	before  []byte           // the state before the call under way
	offset  int64            // in the stream, of the Source's first byte
	frames  int64            // payloads found
	need    int              // fewer bytes can't be decoded
	discard int64            // bytes still to be dropped for a fault
}

// Decode decodes what source has, until the codec waits for more bytes. With eof nothing more follows: it decodes until nothing
// is left, and is not called again. The error is that of sink, or of the codec's Direction.
func (d *Decoder) Decode(ctx context.Context, source Source, sink Sink, eof bool) error {
	d.drop(source, sink)
	if d.discard > 0 {
		return nil // a stream that ends here ends in a frame at fault, which has been reported
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

// apply makes the result of a call effective.
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

// located returns the place of a fault in wire, of which the call consumed so many bytes.
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

// skip goes on after f, which ended a call that consumed so many bytes.
func (d *Decoder) skip(f *Fault, consumed int, source Source) {
	d.call.Examined, d.call.Left, d.need = 0, 0, 0
	d.consume(source, f.Offset-consumed+len(f.Dropped)) // what lies before the faulty frame is no frame's
	if !f.Truncated {
		d.discard = int64(f.Resume - f.Offset - len(f.Dropped))
	}
}

// drop drops what source has of what a fault takes with it.
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

// Fork returns a Decoder that goes on from here on its own, with the same Direction and a Source with the same bytes.
func (d *Decoder) Fork() *Decoder {
	d.call.Left = 0 // which call will be the Direction's last is not known
	f := *d
	f.state, f.before = slices.Clone(d.state), nil
	return &f
}

// Offset returns where in the stream the Source's first byte is.
func (d *Decoder) Offset() int64 { return d.offset }

// State returns the codec's state, valid until the next call of Decode.
func (d *Decoder) State() []byte { return d.state }

// Examined returns how many of the Source's first bytes the codec has searched, as the next call says.
func (d *Decoder) Examined() int { return d.call.Examined }

// Need returns how many bytes the Source must have before the codec can find anything; 0: not known.
func (d *Decoder) Need() int { return d.need }

// Dropping reports whether bytes are still to be dropped that a fault takes with it.
func (d *Decoder) Dropping() bool { return d.discard > 0 }

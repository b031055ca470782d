package codeccall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// A Runner makes calls of one framing in this process. It owns the memory of results, which are valid until its next
// call. It must not be used by several goroutines at once.
type Runner struct {
	payloads codecs.Payloads
	skipped  []SkippedFault
	wants    []string // the different Wants of skipped
	frames   codecs.Frames
	batch    codecs.Batch
}

// UseForDecode makes the Runner build the results of decoding in the caller's memory; see [codecs.Payloads.Use].
func (r *Runner) UseForDecode(refs []codecs.Ref, data []byte) { r.payloads.Use(refs, data) }

// UseForEncode makes the Runner build the results of encoding in the caller's memory; see [codecs.Frames.Use].
func (r *Runner) UseForEncode(wire []byte, ends []uint32) { r.frames.Use(wire, ends) }

// Decode runs one call: it calls the framing once, and once more after each fault that it skips. A panic of the framing
// becomes an error that wraps ErrCodecFailed, and so does an error that is not a fault. The slices of out belong to the
// Runner.
func (r *Runner) Decode(f codecs.Decoder, maxFrame int, in *Decode, out *Decoded) (err error) {
	defer recovered(&err)
	shown := codecs.Wire{Bytes: in.Wire, Examined: in.Examined, EOF: in.EOF, State: in.State, MaxFrame: maxFrame}
	r.payloads.Reset(shown, in.Room)
	r.skipped, r.wants = r.skipped[:0], r.wants[:0]
	consumed, err := f.Decode(&r.payloads, shown)
	begin, dropped := 0, r.payloads.Dropped() // begin is where the bytes begin that the framing was shown last
	if in.Skips > 0 && err != nil {
		begin, consumed, err = r.skip(f, in, maxFrame, consumed, err)
	}
	*out = Decoded{
		Refs: r.payloads.Refs(), Data: r.payloads.Data(), Consumed: begin + consumed,
		Examined: begin + max(consumed, r.payloads.Examined()), Need: r.payloads.Need(),
		Skipped: r.payloads.Skipped(), Dropped: dropped, State: r.payloads.State(), SkippedFaults: r.skipped,
	}
	if err == nil {
		return nil
	}
	var fault *codecs.Fault // declared late: errors.As makes it escape, and calls without an error should not allocate
	switch {
	case err == codecs.ErrNoRoom:
		out.More = true
		if len(out.Refs) == 0 && out.Consumed == 0 {
			out.RoomNeeded = r.payloads.RoomNeeded()
		}
	case errors.As(err, &fault):
		out.Fault = faultFrom(begin, fault)
	case errors.Is(err, codecs.ErrTooLong):
		out.Fault = tooLong(out.Consumed, min(out.Consumed+maxFrame, len(in.Wire)), maxFrame)
	default:
		return fmt.Errorf("%w: %w", ErrCodecFailed, err)
	}
	return nil
}

// skip goes on decoding after the framing's first call, which returned consumed and err, as long as the errors are faults
// that in allows to skip. It returns where in the wire the framing's last call began, and the results of that call.
func (r *Runner) skip(f codecs.Decoder, in *Decode, maxFrame, consumed int, err error) (int, int, error) {
	begin, longest := 0, longestWire(f, maxFrame)
	for len(r.skipped) < min(in.Skips, MaxSkips) {
		fault, ok := err.(*codecs.Fault) //nolint:errorlint // errors.As allocates; a wrapped fault ends the call
		if !ok || fault.Offset < consumed || !skippable(in, begin, longest, fault) || !r.mayWant(fault.Want) {
			break
		}
		r.skipped = append(r.skipped, SkippedFault{Fault: *faultFrom(begin, fault), Payloads: r.payloads.Len()})
		begin += fault.Resume
		if begin == len(in.Wire) {
			r.payloads.GoOn(begin)
			return begin, 0, nil
		}
		consumed, err = f.Decode(&r.payloads, r.payloads.GoOn(begin))
		r.skipped[len(r.skipped)-1].Dropped = r.payloads.Dropped()
	}
	return begin, consumed, err
}

// skippable reports whether a call may go on after fault, whose positions count from begin. It may not if the fault lies
// beyond the longest wire of a frame, because Check replaces such a fault by TooLong.
func skippable(in *Decode, begin, longest int, fault *codecs.Fault) bool {
	shown := len(in.Wire) - begin
	switch {
	case fault.At < fault.Offset || fault.At > shown || fault.At-fault.Offset > longest || fault.Resume <= fault.Offset:
		return false
	case fault.Resume > shown || fault.Resume == shown && in.EOF: // the end of the stream needs a call of its own
		return false
	default:
		return fault.Err == codecs.ErrTooLong || fault.Err == codecs.ErrMalformed
	}
}

// mayWant reports whether a fault with this Want may be skipped too, and records the text: MaxWants limits how many differ.
func (r *Runner) mayWant(want string) bool {
	switch {
	case slices.Contains(r.wants, want):
		return true
	case len(r.wants) == MaxWants || len(want) > MaxWant:
		return false
	default:
		r.wants = append(r.wants, want)
		return true
	}
}

// faultFrom returns fault, whose positions count from begin, with positions that count from the first byte shown.
func faultFrom(begin int, fault *codecs.Fault) *codecs.Fault {
	if begin == 0 {
		return fault
	}
	f := *fault
	f.Offset += begin
	f.At += begin
	if f.Resume != codecs.Never {
		f.Resume += begin
	}
	return &f
}

// longestWire returns the longest wire of one frame of f.
func longestWire(f codecs.Decoder, maxFrame int) int {
	if framing, ok := f.(codecs.Framing); ok {
		return codecs.MaxWireOf(framing, maxFrame)
	}
	return codecs.DefaultMaxWire(maxFrame)
}

// Encode runs one call, like Decode.
func (r *Runner) Encode(f codecs.Encoder, in *Encode, out *Encoded) (err error) {
	defer recovered(&err)
	r.batch = codecs.Batch{Wire: in.Wire, Data: in.Data, Refs: in.Refs, EOF: in.EOF, State: in.State}
	r.frames.Reset(&r.batch, in.Room)
	taken, err := f.Encode(&r.frames, r.batch)
	*out = Encoded{Wire: r.frames.Wire(), Ends: r.frames.Ends(), State: r.frames.State()}
	if taken != len(out.Ends) {
		return fmt.Errorf("%w: %w", ErrCodecFailed, Misbehaved("took %d payloads and wrote %d frames", taken, len(out.Ends)))
	}
	if err == nil {
		return nil
	}
	var fault *codecs.Fault // declared late, as in Decode
	switch {
	case err == codecs.ErrNoRoom:
		out.More = true
		if taken == 0 {
			out.RoomNeeded = r.frames.RoomNeeded()
		}
	case errors.As(err, &fault):
		out.Fault = fault
	default:
		return fmt.Errorf("%w: %w", ErrCodecFailed, err)
	}
	return nil
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: panic: %v\n%s", ErrCodecFailed, r, debug.Stack())
	}
}

// Configure returns a Codec that runs codec in this process, with options (see [codecs.Codec]) and a limit of maxFrame
// bytes for payloads.
func Configure(codec codecs.Codec, options json.RawMessage, maxFrame int) (Codec, error) {
	framing, inForce, err := codec.Configure(options, maxFrame)
	if err != nil {
		return nil, err
	}
	return &local{framing: framing, properties: Properties{
		Info: codec.Info(), Options: inForce, MaxFrame: maxFrame,
		MaxWire: codecs.MaxWireOf(framing, maxFrame), UsesState: codecs.UsesState(framing),
	}}, nil
}

type local struct {
	framing    codecs.Framing
	properties Properties
}

func (l *local) Properties() Properties { return l.properties }
func (l *local) Open() Direction        { return &localDirection{local: l} }

// A localDirection has one Runner for decoding and one for encoding, since one call of each kind may be under way.
type localDirection struct {
	*local
	decoder, encoder Runner
}

func (d *localDirection) Decode(ctx context.Context, in *Decode, out *Decoded) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var result Decoded
	if err := d.decoder.Decode(d.framing, d.properties.MaxFrame, in, &result); err != nil {
		return err
	}
	if err := in.Check(&d.properties, &result); err != nil {
		return fmt.Errorf("%w: %w", ErrCodecFailed, err)
	}
	result.Refs = append(out.Refs[:0], result.Refs...)
	result.Data = append(out.Data[:0], result.Data...)
	result.State = append(out.State[:0], result.State...)
	result.SkippedFaults = append(out.SkippedFaults[:0], result.SkippedFaults...)
	*out = result
	return nil
}

func (d *localDirection) Encode(ctx context.Context, in *Encode, out *Encoded) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var result Encoded
	if err := d.encoder.Encode(d.framing, in, &result); err != nil {
		return err
	}
	if err := in.Check(&d.properties, &result); err != nil {
		return fmt.Errorf("%w: %w", ErrCodecFailed, err)
	}
	result.Wire = append(out.Wire[:0], result.Wire...)
	result.Ends = append(out.Ends[:0], result.Ends...)
	result.State = append(out.State[:0], result.State...)
	*out = result
	return nil
}

func (d *localDirection) Close() {}

package codectest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A reader decodes one stream as a host does. It keeps what was not consumed, its mark and the codec's state, shows
// them again with what arrives, gives more room where it is asked for, and goes on behind faults where they say.
type reader struct {
	ctx        context.Context
	direction  codeccall.Direction
	properties codeccall.Properties

	room   int  // bytes for payloads that are built; more when it is needed, for one call
	forget bool // shows everything as not examined, as a call made again by another process does
	skips  int  // how many faults may be skipped in a call
	// watch sees each call with its result, before the result takes effect.
	watch func(in *codeccall.Decode, out *codeccall.Decoded) error

	offset   int    // of wire[0], in the stream
	wire     []byte // received and not consumed
	examined int
	left     int // bytes of wire that the direction's last call left
	need     int // the codec finds nothing in fewer bytes of wire
	asked    int // bytes of wire in which it found nothing and which it answered with need
	state    []byte
	goOn     int // stream offset where decoding goes on after a fault; what is before it is dropped
	needed   int // the room without which the last call could do nothing; 0: it did something
	ended    bool
	got      transcript
}

// fork returns a reader that goes on from here on its own.
func (r *reader) fork() *reader {
	f := *r
	f.wire, f.state, f.got = bytes.Clone(r.wire), bytes.Clone(r.state), r.got.clone()
	r.left, f.left = 0, 0 // the direction is now shared: which call was its last is not known
	return &f
}

// feed shows what arrived, and with eof that nothing more will. Its error is the codec's failure, not a fault.
func (r *reader) feed(arrived []byte, eof bool) error {
	r.wire = append(r.wire, arrived...)
	for !r.ended {
		if drop := min(r.goOn-r.offset, len(r.wire)); drop > 0 {
			r.take(drop)
		}
		switch {
		case r.offset < r.goOn: // the frame at fault goes on; if the stream ends in it, that was its end
			r.ended = eof
			return nil
		case !eof && len(r.wire) == 0:
			return nil
		}
		if err := r.checkNeed(eof); err != nil {
			return err
		}
		if !eof && len(r.wire) < r.need {
			return nil
		}
		wait, err := r.call(eof)
		if err != nil {
			return err
		}
		if wait {
			r.ended = r.ended || eof
			return nil
		}
	}
	return nil
}

// checkNeed checks that the codec finds nothing in fewer bytes than it said it needs: it shows one byte less, which a host
// never does, once that many have arrived, or whatever has arrived by the end of the stream.
func (r *reader) checkNeed(eof bool) error {
	few := min(r.need-1, len(r.wire))
	if few <= r.asked || len(r.wire) < r.need && !eof {
		return nil
	}
	r.asked = few
	in := codeccall.Decode{Wire: r.wire[:few], Examined: r.examined, State: r.state, Room: max(r.room, r.needed), Left: r.left}
	var out codeccall.Decoded
	err := untouched(&in, func() error { return r.direction.Decode(r.ctx, &in, &out) })
	if err == nil {
		err = in.Check(&r.properties, &out)
	}
	if err != nil {
		return fmt.Errorf("decode of %s from offset %d (fewer bytes than the %d it needs): %w", quote(in.Wire), r.offset, r.need, err)
	}
	if len(out.Refs) > 0 || out.Consumed > 0 || out.Fault != nil || out.More {
		return fmt.Errorf("decode of %s from offset %d: got %s in %d bytes after the answer that it needs %d, "+
			"want a need below which nothing is found (see Payloads.SetNeed): a host waits for that many bytes",
			quote(in.Wire), r.offset, found(&in, &out), few, r.need)
	}
	r.left = few
	return nil
}

// found prints what there is in a result.
func found(in *codeccall.Decode, out *codeccall.Decoded) string {
	var got transcript
	for _, ref := range out.Refs {
		got.payload(payloadAt(in.Wire, out.Data, ref))
	}
	if out.Fault != nil {
		got.fault(out.Fault, 0)
	}
	return fmt.Sprintf("%v and %d bytes consumed", &got, out.Consumed)
}

// call shows what there is. It reports whether nothing is to be done before more arrives.
func (r *reader) call(eof bool) (wait bool, err error) {
	in := codeccall.Decode{Wire: r.wire, Examined: r.examined, EOF: eof, State: r.state, Room: max(r.room, r.needed), Left: r.left,
		Skips: r.skips, Need: r.need, RoomNeeded: r.needed}
	if r.forget {
		in.Examined = 0
	}
	var out codeccall.Decoded
	if err := untouched(&in, func() error { return r.direction.Decode(r.ctx, &in, &out) }); err != nil {
		return false, fmt.Errorf("decode of %s from offset %d (examined %d, eof %t, state %q): %w",
			quote(r.wire), r.offset, in.Examined, eof, r.state, err)
	}
	if err := in.Check(&r.properties, &out); err != nil {
		return false, fmt.Errorf("decode of %s from offset %d: %w", quote(r.wire), r.offset, err)
	}
	if r.watch != nil {
		if err := r.watch(&in, &out); err != nil {
			return false, err
		}
	}
	return r.apply(&in, &out)
}

func (r *reader) apply(in *codeccall.Decode, out *codeccall.Decoded) (wait bool, err error) {
	if f := out.Fault; f != nil && f.At < in.Need-1 && !errors.Is(f.Err, codecs.ErrTruncated) && *f != *r.properties.TooLong(f.Offset) {
		return false, fmt.Errorf("decode of %s from offset %d: got %s after the answer that it needs %d bytes, "+
			"want a fault as soon as it is certain", quote(in.Wire), r.offset, describe(f), in.Need)
	}
	skipped := out.SkippedFaults
	for i, ref := range out.Refs {
		for ; len(skipped) > 0 && skipped[0].Payloads == i; skipped = skipped[1:] {
			r.got.fault(&skipped[0].Fault, r.offset)
		}
		r.got.payload(payloadAt(in.Wire, out.Data, ref))
	}
	for i := range skipped {
		r.got.fault(&skipped[i].Fault, r.offset)
	}
	r.got.skipped += out.Skipped
	r.got.dropped += out.Dropped
	for i := range out.SkippedFaults {
		r.got.dropped += out.SkippedFaults[i].Dropped
	}
	r.state = append(r.state[:0], out.State...)
	begin := r.offset
	progress := out.Consumed > 0
	r.left = len(r.wire)
	r.take(out.Consumed)
	r.examined, r.need, r.asked = out.Examined-out.Consumed, out.Need, len(r.wire)

	if f := out.Fault; f != nil {
		r.got.fault(f, begin)
		r.examined, r.need, r.left, r.needed = 0, 0, 0, 0
		if f.Resume == codecs.Never {
			r.ended = true
			return true, nil
		}
		r.goOn = begin + f.Resume
		atEnd := errors.Is(f.Err, codecs.ErrTruncated) && r.goOn >= r.offset+len(r.wire)
		return in.EOF && atEnd, nil
	}
	if !out.More {
		r.needed = 0
		return true, nil
	}
	if progress {
		r.needed = 0
		return false, nil
	}
	if r.needed > 0 {
		return false, fmt.Errorf("decode of %s: room for %d bytes was said to be enough, now %d are needed",
			quote(r.wire), r.needed, out.RoomNeeded)
	}
	r.needed = out.RoomNeeded
	return false, nil
}

// take drops n bytes from the front of the wire.
func (r *reader) take(n int) {
	r.wire = r.wire[n:]
	r.offset += n
	r.examined = max(0, r.examined-n)
	r.left = max(0, r.left-n)
}

// untouched makes a call of which in is the argument, and fails when the call changed the argument's bytes, or those
// behind them that belong to the caller.
func untouched(in *codeccall.Decode, call func() error) error {
	const behind = "\xa5\xa5\xa5\xa5"
	memory := append(bytes.Clone(in.Wire), behind...)
	wire, state := memory[:len(in.Wire)], bytes.Clone(in.State)
	shown := *in
	in.Wire, in.State = wire, state
	err := call()
	switch {
	case err != nil:
		return err
	case !bytes.Equal(wire, shown.Wire):
		return fmt.Errorf("the wire it was shown was changed to %s", quote(wire))
	case string(memory[len(wire):]) != behind:
		return errors.New("memory behind the wire it was shown was changed")
	case !bytes.Equal(state, shown.State):
		return fmt.Errorf("the state it was given was changed to %q", state)
	}
	return nil
}

func payloadAt(wire, data []byte, ref codecs.Ref) []byte {
	all := wire
	off := int(ref.Off)
	if off >= len(wire) && ref.Len > 0 {
		all, off = data, off-len(wire)
	}
	if ref.Len == 0 {
		return nil
	}
	return all[off : off+int(ref.Len)]
}

package codeccall

import (
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
)

// maxWant bounds the text that a fault carries.
const maxWant = 200

// Check holds out, the result of in by a codec with properties p, against the contract. Its error wraps ErrMisbehaved.
// A frame that is unfinished beyond p.MaxWire, or at fault only beyond it, becomes the fault ErrTooLong.
func (in *Decode) Check(p *Properties, out *Decoded) error {
	shown := len(in.Wire)
	switch {
	case out.Consumed < 0 || out.Consumed > shown:
		return misbehaved("consumed %d of %d bytes", out.Consumed, shown)
	case out.Examined < out.Consumed || out.Examined > shown:
		return misbehaved("examined %d, not between consumed %d and %d bytes", out.Examined, out.Consumed, shown)
	case out.Need < 0:
		return misbehaved("need of %d bytes", out.Need)
	case out.Skipped < 0 || out.Skipped > out.Consumed-len(out.Refs):
		return misbehaved("%d payloads and %d frames skipped in %d bytes consumed", len(out.Refs), out.Skipped, out.Consumed)
	case out.Dropped < 0 || out.Dropped > out.Consumed || out.Dropped > 0 && len(in.State) == 0:
		return misbehaved("%d bytes dropped of %d consumed, in a state of %d bytes", out.Dropped, out.Consumed, len(in.State))
	case len(out.Refs) > codecs.MaxPayloads:
		return misbehaved("%d payloads, more than %d", len(out.Refs), codecs.MaxPayloads)
	case len(out.Data) > in.Room:
		return misbehaved("%d bytes built in room for %d", len(out.Data), in.Room)
	case len(out.State) > codecs.MaxState:
		return misbehaved("state of %d bytes, more than %d", len(out.State), codecs.MaxState)
	case out.More && out.Fault != nil:
		return misbehaved("more and a fault at once")
	}
	if err := in.checkSkipped(p, out); err != nil {
		return err
	}
	wireEnd, dataEnd, total := uint64(out.Dropped), uint64(shown), uint64(shown)+uint64(len(out.Data))
	skipped, wireLimit := out.SkippedFaults, uint64(out.Consumed)
	if len(skipped) > 0 {
		wireLimit = uint64(skipped[0].Offset)
	}
	for i, r := range out.Refs {
		for len(skipped) > 0 && skipped[0].Payloads == i { // the payloads from here on are behind it
			wireEnd = uint64(skipped[0].Resume + skipped[0].Dropped)
			if skipped, wireLimit = skipped[1:], uint64(out.Consumed); len(skipped) > 0 {
				wireLimit = uint64(skipped[0].Offset)
			}
		}
		from, to := uint64(r.Off), uint64(r.Off)+uint64(r.Len)
		switch {
		case uint64(r.Len) > uint64(p.MaxFrame):
			return misbehaved("payload %d has %d bytes, more than %d", i, r.Len, p.MaxFrame)
		case r.Len == 0 && from <= total: // lies in either, as its place is where they meet
		case from >= wireEnd && to <= wireLimit:
			wireEnd = to
		case from >= dataEnd && to <= total:
			dataEnd = to
		default:
			return misbehaved("payload %d lies at %d..%d", i, from, to)
		}
	}
	if err := checkMore(out.More, out.Consumed > 0, out.RoomNeeded, in.Room, p.MaxFrame); err != nil {
		return err
	}
	if f := out.Fault; f != nil {
		if err := checkFault(f); err != nil {
			return err
		}
		switch {
		case errors.Is(f.Err, codecs.ErrUnrepresentable):
			return misbehaved("decoding is at fault for %v", f.Err)
		case f.Offset < out.Consumed || f.Offset > shown || f.At < f.Offset || f.At > shown:
			return misbehaved("fault at %d of a frame at %d, not between consumed %d and %d bytes", f.At, f.Offset, out.Consumed, shown)
		case f.Resume != codecs.Never && f.Resume <= f.Offset:
			return misbehaved("resume at %d of a frame at %d", f.Resume, f.Offset)
		case f.At-f.Offset > p.MaxWire:
			// Had it arrived in smaller pieces, the frame would have been stopped at its limit.
			out.Fault = tooLong(f.Offset, f.Offset+min(p.MaxFrame, p.MaxWire), p.MaxFrame)
		}
		return nil
	}
	if out.More {
		return nil
	}
	if in.EOF && out.Consumed != shown {
		return misbehaved("consumed %d of %d bytes at the end of the stream", out.Consumed, shown)
	}
	if shown-out.Consumed > p.MaxWire {
		out.Fault = tooLong(out.Consumed, out.Consumed+min(p.MaxFrame, p.MaxWire), p.MaxFrame)
	}
	return nil
}

// checkSkipped holds the skipped faults of out against the contract: they lie behind each other, each within what was
// consumed.
func (in *Decode) checkSkipped(p *Properties, out *Decoded) error {
	if len(out.SkippedFaults) > in.Skips {
		return misbehaved("%d faults skipped, more than %d", len(out.SkippedFaults), in.Skips)
	}
	end, payloads := out.Dropped, 0
	for i := range out.SkippedFaults {
		f := &out.SkippedFaults[i]
		if err := checkFault(&f.Fault); err != nil {
			return err
		}
		switch {
		case f.Err != codecs.ErrTooLong && f.Err != codecs.ErrMalformed: //nolint:errorlint // checkFault knows no others
			return misbehaved("skipped a fault for %v", f.Err)
		case f.Payloads < payloads || f.Payloads > len(out.Refs):
			return misbehaved("a skipped fault behind %d payloads, not between %d and %d", f.Payloads, payloads, len(out.Refs))
		case f.Offset < end || f.Resume <= f.Offset || f.Resume > out.Consumed:
			return misbehaved("skipped %d..%d behind %d, consumed %d bytes", f.Offset, f.Resume, end, out.Consumed)
		case f.Dropped < 0 || f.Dropped > out.Consumed-f.Resume:
			return misbehaved("dropped %d bytes behind %d, consumed %d", f.Dropped, f.Resume, out.Consumed)
		case f.Resume == len(in.Wire) && in.EOF:
			return misbehaved("skipped the fault at %d to the end of the stream", f.Offset)
		case f.At < f.Offset || f.At > len(in.Wire) || f.At-f.Offset > p.MaxWire:
			return misbehaved("skipped fault at %d of a frame at %d, of %d bytes shown", f.At, f.Offset, len(in.Wire))
		}
		end, payloads = f.Resume+f.Dropped, f.Payloads
	}
	return nil
}

// Check holds out, the result of in by a codec with properties p, against the contract. Its error wraps ErrMisbehaved.
func (in *Encode) Check(p *Properties, out *Encoded) error {
	switch {
	case len(out.Ends) > len(in.Refs):
		return misbehaved("took %d of %d payloads", len(out.Ends), len(in.Refs))
	case len(out.Wire) > in.Room:
		return misbehaved("%d bytes written in room for %d", len(out.Wire), in.Room)
	case len(out.State) > codecs.MaxState:
		return misbehaved("state of %d bytes, more than %d", len(out.State), codecs.MaxState)
	case out.More && out.Fault != nil:
		return misbehaved("more and a fault at once")
	}
	last := uint32(0)
	for i, end := range out.Ends {
		if end < last || uint64(end) > uint64(len(out.Wire)) {
			return misbehaved("frame %d ends at %d, not between %d and %d", i, end, last, len(out.Wire))
		}
		if uint64(end-last) > uint64(p.MaxWire) {
			return misbehaved("frame %d has %d bytes, more than %d", i, end-last, p.MaxWire)
		}
		last = end
	}
	if err := checkMore(out.More, len(out.Ends) > 0, out.RoomNeeded, in.Room, p.MaxWire); err != nil {
		return err
	}
	if f := out.Fault; f != nil {
		if err := checkFault(f); err != nil {
			return err
		}
		switch {
		case len(out.Ends) == len(in.Refs):
			return misbehaved("a fault behind the last payload")
		case !errors.Is(f.Err, codecs.ErrUnrepresentable) && !errors.Is(f.Err, codecs.ErrTooLong):
			return misbehaved("encoding is at fault for %v", f.Err)
		case f.At < 0 || f.At > int(in.Refs[len(out.Ends)].Len):
			return misbehaved("fault at %d of a payload of %d bytes", f.At, in.Refs[len(out.Ends)].Len)
		}
		return nil
	}
	if !out.More && len(out.Ends) != len(in.Refs) {
		return misbehaved("took %d of %d payloads without asking for more room", len(out.Ends), len(in.Refs))
	}
	return nil
}

// tooLong is the fault of a frame at offset whose codec doesn't report it itself. It is the same whether the payload
// was found to be too long or the frame was still unfinished beyond its limit, since that depends on the cuts.
func tooLong(offset, at, maxFrame int) *codecs.Fault {
	return &codecs.Fault{
		Offset: offset, At: at, Err: codecs.ErrTooLong,
		Want: fmt.Sprintf("a payload of at most %d bytes", maxFrame), Resume: codecs.Never,
	}
}

// checkMore refuses results that would be asked for again forever.
func checkMore(more, progress bool, needed, room, most int) error {
	switch {
	case needed < 0 || needed > most:
		return misbehaved("room of %d bytes needed, more than %d", needed, most)
	case more && !progress && needed <= room:
		return misbehaved("no progress in room for %d bytes, %d needed", room, needed)
	}
	return nil
}

func checkFault(f *codecs.Fault) error {
	switch f.Err {
	case codecs.ErrTooLong, codecs.ErrMalformed, codecs.ErrTruncated, codecs.ErrUnrepresentable:
	default:
		return misbehaved("fault of an unknown kind: %v", f.Err)
	}
	if len(f.Want) > maxWant {
		return misbehaved("a fault wants %d bytes of text, more than %d", len(f.Want), maxWant)
	}
	return nil
}

func misbehaved(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMisbehaved, fmt.Sprintf(format, args...))
}

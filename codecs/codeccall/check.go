package codeccall

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// maxResume is how many bytes after a faulty frame's start decoding may go on, so that sums of stream positions don't
// overflow.
const maxResume = min(1<<48, math.MaxInt)

// Check checks out, the result of in by a codec with properties p, against the contract. Its error wraps ErrMisbehaved.
// If a frame is unfinished beyond p.MaxWire, or its fault lies beyond it, Check sets out.Fault to p.TooLong. It clears
// Need if the result does not wait for more bytes, and RoomNeeded unless the result made no progress because room ran out.
func (in *Decode) Check(p *Properties, out *Decoded) error {
	shown := len(in.Wire)
	switch {
	case out.Consumed < 0 || out.Consumed > shown:
		return Misbehaved("consumed %d of %d bytes", out.Consumed, shown)
	case out.Examined < out.Consumed || out.Examined > shown:
		return Misbehaved("examined %d, not between consumed %d and %d bytes", out.Examined, out.Consumed, shown)
	case out.Dropped < 0 || out.Dropped > out.Consumed || out.Dropped > 0 && len(in.State) == 0:
		return Misbehaved("%d bytes dropped of %d consumed, in a state of %d bytes", out.Dropped, out.Consumed, len(in.State))
	case len(out.Refs) > codecs.MaxPayloads:
		return Misbehaved("%d payloads, more than %d", len(out.Refs), codecs.MaxPayloads)
	case len(out.Data) > in.Room:
		return Misbehaved("%d bytes built in room for %d", len(out.Data), in.Room)
	case len(out.State) > codecs.MaxState:
		return Misbehaved("state of %d bytes, more than %d", len(out.State), codecs.MaxState)
	case out.More && out.Fault != nil:
		return Misbehaved("more and a fault at once")
	}
	if err := in.checkSkipped(p, out); err != nil {
		return err
	}
	wireEnd, dataEnd, total := uint64(out.Dropped), uint64(shown), uint64(shown)+uint64(len(out.Data))
	if err := out.checkCounts(); err != nil {
		return err
	}
	skipped, wireLimit := out.SkippedFaults, uint64(out.Consumed)
	if len(skipped) > 0 {
		wireLimit = uint64(skipped[0].Offset)
	}
	for i, r := range out.Refs {
		for len(skipped) > 0 && skipped[0].Payloads == i { // the payloads from here on follow this fault
			wireEnd = uint64(skipped[0].Resume + skipped[0].Dropped)
			if skipped, wireLimit = skipped[1:], uint64(out.Consumed); len(skipped) > 0 {
				wireLimit = uint64(skipped[0].Offset)
			}
		}
		from, to := uint64(r.Off), uint64(r.Off)+uint64(r.Len)
		switch {
		case uint64(r.Len) > uint64(p.MaxFrame):
			return Misbehaved("payload %d has %d bytes, more than %d", i, r.Len, p.MaxFrame)
		case r.Len == 0 && from <= total: // any position will do, since an empty payload reads no bytes
		case from >= wireEnd && to <= wireLimit:
			wireEnd = to
		case from >= dataEnd && to <= total:
			dataEnd = to
		default:
			return Misbehaved("payload %d lies at %d..%d", i, from, to)
		}
	}
	if err := checkMore(out.More, out.Consumed > 0, &out.RoomNeeded, in.Room, in.RoomNeeded, p.MaxFrame); err != nil {
		return err
	}
	if err := in.checkNeed(p, out); err != nil {
		return err
	}
	if f := out.Fault; f != nil {
		if err := checkFault(f); err != nil {
			return err
		}
		switch truncated := errors.Is(f.Err, codecs.ErrTruncated); {
		case truncated && (!in.EOF || f.At != shown || f.Resume != codecs.Never && f.Resume != shown):
			return Misbehaved("truncated at %d of %d bytes (eof %t), resume at %d: want the end of the stream",
				f.At, shown, in.EOF, f.Resume)
		case errors.Is(f.Err, codecs.ErrUnrepresentable):
			return Misbehaved("decoding is at fault for %v", f.Err)
		case f.Offset < out.Consumed || f.Offset > shown || f.At < f.Offset || f.At > shown:
			return Misbehaved("fault at %d of a frame at %d, not between consumed %d and %d bytes", f.At, f.Offset, out.Consumed, shown)
		case f.Resume != codecs.Never && (f.Resume <= f.Offset || f.Resume-f.Offset > maxResume):
			return Misbehaved("resume at %d of a frame at %d, want 1 to %d bytes after that, or never", f.Resume, f.Offset, maxResume)
		case p.announces(f):
			return Misbehaved("a fault (%v) of a frame that announces %d bytes, of which %d may be", f.Err, f.Announced, p.MaxFrame)
		case f.At-f.Offset > p.MaxWire:
			// If the frame had arrived in smaller pieces, it would have been ended at its limit.
			out.Fault = p.TooLong(f.Offset)
		}
		return nil
	}
	if out.More {
		return nil
	}
	if in.EOF && out.Consumed != shown {
		return Misbehaved("consumed %d of %d bytes at the end of the stream", out.Consumed, shown)
	}
	if shown-out.Consumed > p.MaxWire {
		out.Fault = p.TooLong(out.Consumed)
	}
	return nil
}

// checkSkipped checks the skipped faults of out against the contract: they are in order, without overlap, and within the
// bytes consumed.
func (in *Decode) checkSkipped(p *Properties, out *Decoded) error {
	if len(out.SkippedFaults) > in.Skips {
		return Misbehaved("%d faults skipped, more than %d", len(out.SkippedFaults), in.Skips)
	}
	end, payloads := out.Dropped, 0
	for i := range out.SkippedFaults {
		f := &out.SkippedFaults[i]
		if err := checkFault(&f.Fault); err != nil {
			return err
		}
		switch {
		case f.Err != codecs.ErrTooLong && f.Err != codecs.ErrMalformed:
			return Misbehaved("skipped a fault for %v", f.Err)
		case f.Payloads < payloads || f.Payloads > len(out.Refs):
			return Misbehaved("a skipped fault after %d payloads, not between %d and %d", f.Payloads, payloads, len(out.Refs))
		case f.Offset < end || f.Resume <= f.Offset || f.Resume > out.Consumed:
			return Misbehaved("skipped %d..%d after %d, consumed %d bytes", f.Offset, f.Resume, end, out.Consumed)
		case f.Dropped < 0 || f.Dropped > out.Consumed-f.Resume:
			return Misbehaved("dropped %d bytes after %d, consumed %d", f.Dropped, f.Resume, out.Consumed)
		case f.Resume == len(in.Wire) && in.EOF:
			return Misbehaved("skipped the fault at %d to the end of the stream", f.Offset)
		case p.announces(&f.Fault):
			return Misbehaved("skipped a fault (%v) of a frame that announces %d bytes, of which %d may be", f.Err, f.Announced, p.MaxFrame)
		case f.At < f.Offset || f.At > len(in.Wire) || f.At-f.Offset > p.MaxWire:
			return Misbehaved("skipped fault at %d of a frame at %d, of %d bytes shown", f.At, f.Offset, len(in.Wire))
		}
		end, payloads = f.Resume+f.Dropped, f.Payloads
	}
	return nil
}

// checkCounts checks the numbers of payloads and of skipped empty frames against the bytes consumed: each occupies at
// least one byte, and payloads occupy bytes between the same skipped faults as their places in the result.
func (out *Decoded) checkCounts() error {
	free := 0 // bytes of payloads and empty frames
	from, before := out.Dropped, 0
	for i := range out.SkippedFaults {
		f := &out.SkippedFaults[i]
		if free += f.Offset - from; f.Payloads-before > f.Offset-from {
			return Misbehaved("%d payloads in %d bytes before the skipped fault at %d", f.Payloads-before, f.Offset-from, f.Offset)
		}
		from, before = f.Resume+f.Dropped, f.Payloads
	}
	free += out.Consumed - from
	if payloads := len(out.Refs) - before; payloads > out.Consumed-from || out.Skipped < 0 || out.Skipped > free-len(out.Refs) {
		return Misbehaved("%d payloads and %d frames skipped in %d of %d bytes consumed", len(out.Refs), out.Skipped, free, out.Consumed)
	}
	return nil
}

// announces reports whether f announces a length that does not justify f: only a frame too long may announce one, and the
// length must exceed p.MaxFrame.
func (p *Properties) announces(f *codecs.Fault) bool {
	tooLong := errors.Is(f.Err, codecs.ErrTooLong)
	return f.Announced > 0 && (!tooLong || f.Announced <= uint64(p.MaxFrame))
}

// checkNeed checks out.Need against the longest frame, and out against in.Need, the need of the last result.
func (in *Decode) checkNeed(p *Properties, out *Decoded) error {
	if out.More || out.Fault != nil || in.EOF || len(in.Wire)-out.Consumed > p.MaxWire {
		out.Need = 0 // does not wait for more bytes
	}
	if most := p.MaxWire + 1; out.Need < 0 || out.Need > most { // p.MaxWire+1 bytes of one frame are too long in any case
		return Misbehaved("needs %d bytes, but the longest frame has %d: want a need of at most %d, or a frame too long",
			out.Need, p.MaxWire, most)
	}
	if shown := len(in.Wire); shown < in.Need {
		truncated := out.Fault != nil && errors.Is(out.Fault.Err, codecs.ErrTruncated)
		if out.Consumed > 0 || out.More || out.Fault != nil && !truncated {
			return Misbehaved("%s in %d bytes, after it needed %d: want a need below which nothing is found",
				out.found(), shown, in.Need)
		}
	}
	return nil
}

// found describes in a few words what out contains other than an unfinished frame.
func (out *Decoded) found() string {
	switch {
	case len(out.Refs) > 0:
		return fmt.Sprintf("found %d payloads", len(out.Refs))
	case out.Fault != nil:
		return fmt.Sprintf("found a fault (%v)", out.Fault.Err)
	case out.Consumed > 0:
		return fmt.Sprintf("consumed %d bytes", out.Consumed)
	default:
		return "asked for room"
	}
}

// Check checks out, the result of in by a codec with properties p, against the contract. Its error wraps ErrMisbehaved.
func (in *Encode) Check(p *Properties, out *Encoded) error {
	switch {
	case len(out.Ends) > len(in.Refs):
		return Misbehaved("took %d of %d payloads", len(out.Ends), len(in.Refs))
	case len(out.Wire) > in.Room:
		return Misbehaved("%d bytes written in room for %d", len(out.Wire), in.Room)
	case len(out.State) > codecs.MaxState:
		return Misbehaved("state of %d bytes, more than %d", len(out.State), codecs.MaxState)
	case out.More && out.Fault != nil:
		return Misbehaved("more and a fault at once")
	}
	last := uint32(0)
	for i, end := range out.Ends {
		if end == last && in.Refs[i].Len > 0 {
			return Misbehaved("nothing was written for payload %d, which has %d bytes: want a frame or a fault", i, in.Refs[i].Len)
		}
		if end < last || uint64(end) > uint64(len(out.Wire)) {
			return Misbehaved("frame %d ends at %d, not between %d and %d", i, end, last, len(out.Wire))
		}
		if uint64(end-last) > uint64(p.MaxWire) {
			return Misbehaved("frame %d has %d bytes, more than %d", i, end-last, p.MaxWire)
		}
		last = end
	}
	if err := checkMore(out.More, len(out.Ends) > 0, &out.RoomNeeded, in.Room, in.RoomNeeded, p.MaxWire); err != nil {
		return err
	}
	if n := len(out.Wire) - int(last); n > 0 && (!in.EOF || len(out.Ends) < len(in.Refs)) {
		return Misbehaved("%d bytes are written after the last frame: want that only at the end of the stream", n)
	}
	if f := out.Fault; f != nil {
		if err := checkFault(f); err != nil {
			return err
		}
		switch {
		case len(out.Ends) == len(in.Refs):
			return Misbehaved("a fault after the last payload")
		case !errors.Is(f.Err, codecs.ErrUnrepresentable) && !errors.Is(f.Err, codecs.ErrTooLong):
			return Misbehaved("encoding is at fault for %v", f.Err)
		case f.At < 0 || f.At > int(in.Refs[len(out.Ends)].Len):
			return Misbehaved("fault at %d of a payload of %d bytes", f.At, in.Refs[len(out.Ends)].Len)
		}
		return nil
	}
	if !out.More && len(out.Ends) != len(in.Refs) {
		return Misbehaved("took %d of %d payloads without asking for more room", len(out.Ends), len(in.Refs))
	}
	return nil
}

// checkMore refuses results after which the same call would be repeated for ever. room is the room that the call had, and
// asked is the room that the last result asked for, 0 if none. checkMore clears needed if the result does not wait for room.
func checkMore(more, progress bool, needed *int, room, asked, most int) error {
	switch {
	case *needed < 0 || *needed > most:
		return Misbehaved("room of %d bytes needed, more than %d", *needed, most)
	case !more || progress:
		*needed = 0
	case *needed <= room:
		return Misbehaved("no progress in room for %d bytes, %d needed", room, *needed)
	case asked > 0 && asked <= room:
		return Misbehaved("no progress in room for %d bytes, of which %d were needed: now %d are", room, asked, *needed)
	}
	return nil
}

func checkFault(f *codecs.Fault) error {
	if !slices.Contains(FaultKinds[1:], f.Err) {
		return Misbehaved("fault of an unknown kind: %v", f.Err)
	}
	if len(f.Want) > MaxWant {
		return Misbehaved("a fault wants %d bytes of text, more than %d", len(f.Want), MaxWant)
	}
	return nil
}

// Misbehaved returns an error that wraps [ErrMisbehaved], and the errors that format and args wrap. args must not contain
// anything from a plugin that was not checked before.
func Misbehaved(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMisbehaved, fmt.Errorf(format, args...))
}

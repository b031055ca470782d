//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A worker runs calls: it is one goroutine, with memory of its own.
type worker struct {
	runner  codeccall.Runner
	decode  codeccall.Decode
	encode  codeccall.Encode
	decoded codeccall.Decoded
	encoded codeccall.Encoded
}

// run makes the call in slot and writes its answer, except for the attempt, which it returns.
func (w *worker) run(l *serverLane, slot uint32) (attempt uint64) {
	c, a := &l.control.calls[slot], &l.state.answers[slot]
	a.begun.Store(c.attempt)
	a.head = answerHead{}
	if err := w.call(l.server, c, a); err != nil {
		a.head = answerHead{bits: bitFailed, textLen: uint32(copy(a.text[:], codeccall.FailedText(err)))}
	}
	return c.attempt
}

func (w *worker) call(s *server, c *callSlot, a *answerSlot) error {
	codec := s.lookup(c.codec)
	if codec == nil {
		return fmt.Errorf("codec %d was not configured", c.codec)
	}
	wire, err := s.at(c.wire)
	if err != nil {
		return err
	}
	entries, err := s.at(c.entries)
	if err != nil {
		return err
	}
	data, err := s.at(c.data)
	if err != nil {
		return err
	}
	state := c.state[:min(c.stateLen, codecs.MaxState)]
	if c.kind == kindDecode {
		faults, err := s.at(c.faults)
		if err != nil {
			return err
		}
		return w.runDecode(codec, c, a, wire, state, refsIn(entries), data, faults)
	}
	refs, err := s.at(c.refs)
	if err != nil {
		return err
	}
	return w.runEncode(codec, c, a, wire, refsIn(refs), state, endsIn(entries), data)
}

var errTable = errors.New("more entries than calls can have")

func (w *worker) runDecode(codec *Configured, c *callSlot, a *answerSlot, wire, state []byte, refs []codecs.Ref,
	data, skipped []byte) error {
	in, out := &w.decode, &w.decoded
	wants, faults := faultsIn(skipped)
	*in = codeccall.Decode{
		Wire: wire, Examined: int(c.examined), EOF: c.eof != 0, State: state, Room: len(data), Skips: len(faults),
	}
	w.runner.UseForDecode(refs[:0:len(refs)], data[:0:len(data)])
	if err := w.runner.Decode(codec.Framing, codec.MaxFrame, in, out); err != nil {
		return err
	}
	if err := in.Check(&codeccall.Properties{MaxFrame: codec.MaxFrame, MaxWire: codec.MaxWire}, out); err != nil {
		return err
	}
	if len(out.Refs) > len(refs) {
		return errTable
	}
	copyIfMoved(refs, out.Refs)
	copyIfMoved(data, out.Data)
	a.head = answerHead{
		entries: uint32(len(out.Refs)), size: uint32(len(out.Data)), consumed: uint32(out.Consumed), examined: uint32(out.Examined),
		need: uint32(min(out.Need, codecs.MaxWire)), roomNeeded: uint32(out.RoomNeeded), skipped: uint32(out.Skipped),
		dropped: uint32(out.Dropped),
	}
	a.skip(out.SkippedFaults, wants, faults)
	a.finish(out.More, out.State, out.Fault)
	return nil
}

// skip writes the skipped faults and their different Wants to their place.
func (a *answerSlot) skip(skipped []codeccall.SkippedFault, wants []wantEntry, faults []faultEntry) {
	var texts [codeccall.MaxWants]string
	known := texts[:0]
	for i := range skipped {
		f := &skipped[i]
		want := slices.Index(known, f.Want)
		if want < 0 {
			want = len(known)
			known = append(known, f.Want)
			wants[want].length = uint32(copy(wants[want].text[:], f.Want))
		}
		faults[i] = faultEntry{
			kind: uint32(codeccall.FaultNumber(f.Err)), offset: uint32(f.Offset), at: uint32(f.At), resume: uint32(f.Resume),
			payloads: uint32(f.Payloads), want: uint32(want), dropped: uint32(f.Dropped), announced: f.Announced,
		}
	}
	a.head.faults, a.head.wants = uint32(len(skipped)), uint32(len(known))
}

func (w *worker) runEncode(codec *Configured, c *callSlot, a *answerSlot, wire []byte, refs []codecs.Ref, state []byte,
	ends []uint32, data []byte) error {
	in, out := &w.encode, &w.encoded
	*in = codeccall.Encode{Wire: wire, Refs: refs, EOF: c.eof != 0, State: state, Room: len(data)}
	w.runner.UseForEncode(data[:0:len(data)], ends[:0:len(ends)])
	if err := w.runner.Encode(codec.Framing, in, out); err != nil {
		return err
	}
	if err := in.Check(&codeccall.Properties{MaxFrame: codec.MaxFrame, MaxWire: codec.MaxWire}, out); err != nil {
		return err
	}
	if len(out.Ends) > len(ends) {
		return errTable
	}
	copyIfMoved(ends, out.Ends)
	copyIfMoved(data, out.Wire)
	a.head = answerHead{entries: uint32(len(out.Ends)), size: uint32(len(out.Wire)), roomNeeded: uint32(out.RoomNeeded)}
	a.finish(out.More, out.State, out.Fault)
	return nil
}

// copyIfMoved copies built to where it belongs, if it lies elsewhere: when a codec appends more than it had announced to Grow,
// Go moves the slice.
func copyIfMoved[T any](where, built []T) {
	if len(built) > 0 && &built[0] != &where[0] {
		copy(where, built)
	}
}

// finish sets the parts of an answer that decodes and encodes have in common.
func (a *answerSlot) finish(more bool, state []byte, fault *codecs.Fault) {
	if more {
		a.head.bits |= bitMore
	}
	a.head.stateLen = uint32(copy(a.state[:], state))
	if fault != nil {
		a.head.bits |= bitFault
		a.head.faultKind = uint32(codeccall.FaultNumber(fault.Err))
		a.head.faultOffset, a.head.faultAt, a.head.faultResume = int64(fault.Offset), int64(fault.At), int64(fault.Resume)
		a.head.announced = fault.Announced
		a.head.textLen = uint32(copy(a.text[:], fault.Want))
	}
}

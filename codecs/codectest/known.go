package codectest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// optionsInForce checks that the options in force that a codec reports make the same codec.
func (s *suite) optionsInForce() {
	p := s.codec.Properties()
	if p.MaxFrame != s.maxFrame || p.MaxWire < 1 {
		s.t.Fatalf("configured for payloads of %d bytes: got max_frame %d and max_wire %d", s.maxFrame, p.MaxFrame, p.MaxWire)
	}
	again, err := s.configure(p.Options, s.maxFrame)
	if err != nil {
		s.t.Fatalf("options in force, %s, are refused: %v", p.Options, err)
	}
	q := again.Properties()
	if !sameJSON(p.Options, q.Options) || p.MaxWire != q.MaxWire || p.UsesState != q.UsesState {
		s.t.Fatalf("options in force, %s, make another codec:\n got  %+v\n want %+v", p.Options, q, p)
	}
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	return x.String() == y.String()
}

// known checks the payloads and wires of the case.
func (s *suite) known() {
	for _, p := range s.c.Accept {
		for _, t := range s.encode([]string{p}, nil).taken {
			if t.fault != nil {
				s.t.Fatalf("payload %s: got %v, want it accepted", quote(p), t.fault)
			}
		}
	}
	for _, p := range s.c.Refuse {
		e := s.encode([]string{p}, nil)
		if f := e.taken[0].fault; f == nil || !errors.Is(f.Err, codecs.ErrUnrepresentable) {
			s.t.Fatalf("payload %s was written as %s, want it refused as unrepresentable", quote(p), quote(e.wire))
		}
	}
	for _, f := range s.c.Frames {
		e := s.encode([]string{f.Payload}, nil)
		if string(e.wire) != f.Wire {
			s.t.Fatalf("payload %s:\n got wire %s\n want     %s", quote(f.Payload), quote(e.wire), quote(f.Wire))
		}
		s.backAgain(e, inOnePiece)
	}
	for _, w := range s.c.Wires {
		s.knownWire(w)
	}
}

func (s *suite) knownWire(w Wire) {
	s.t.Helper()
	got := s.decode([]byte(w.Wire), inOnePiece)
	before, fault, behind := got.split()
	if !slices.Equal(before, w.Want) || !sameFault(fault, w.Fault) || !slices.Equal(behind, w.Rest) {
		want := transcript{}
		for _, p := range w.Want {
			want.payload([]byte(p))
		}
		if w.Fault != nil {
			want.fault(w.Fault, 0)
		}
		for _, p := range w.Rest {
			want.payload([]byte(p))
		}
		s.t.Fatalf("stream %s:\n got  %v\n want %v", quote(w.Wire), got, &want)
	}
	s.cutEverywhere([]byte(w.Wire), got)
}

func sameFault(got, want *codecs.Fault) bool {
	if got == nil || want == nil {
		return got == want
	}
	return errors.Is(got.Err, want.Err) && got.Offset == want.Offset && got.At == want.At &&
		(want.Want == "" || got.Want == want.Want)
}

// cutEverywhere checks that a short wire decodes to want with each single cut, and a long wire with some cuts.
func (s *suite) cutEverywhere(wire []byte, want *transcript) {
	s.t.Helper()
	if len(wire) > 2*s.effort.cutWire {
		for range 20 {
			s.alike(wire, want, s.randomly(len(wire)))
		}
		return
	}
	for k := range len(wire) + 1 {
		s.alike(wire, want, arrival{cuts: []int{k}, eofToo: k%2 == 0})
	}
	s.alike(wire, want, byteByByte(len(wire)), s.randomly(len(wire)), nothingExamined(byteByByte(len(wire))))
}

func nothingExamined(a arrival) arrival {
	a.adjust = func(r *reader) { r.forget = true }
	a.how = "each call with nothing examined"
	return a
}

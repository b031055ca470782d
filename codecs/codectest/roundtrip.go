package codectest

import (
	"bytes"
	"errors"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// roundTrip checks that written payloads are read back, and that other payloads are refused correctly.
func (s *suite) roundTrip() {
	taken := 0
	for _, payloads := range s.streams(s.payloads(s.effort.payloads), 48) {
		e := s.encode(payloads, nil)
		s.fates(e)
		s.backAgain(e, inOnePiece)
		s.backAgain(e, s.randomly(len(e.wire)))
		taken += len(e.payloads())
	}
	if taken == 0 {
		s.t.Fatalf("no payload at all was accepted")
	}
}

// fates checks the result for each payload passed to the encoder.
func (s *suite) fates(e *encoding) {
	s.t.Helper()
	for _, t := range e.taken {
		switch {
		case t.fault != nil && slices.Contains(s.c.Accept, t.payload):
			s.t.Fatalf("payload %s: got %v, want it accepted, as alone", quote(t.payload), t.fault)
		case t.fault != nil && !errors.Is(t.fault.Err, codecs.ErrUnrepresentable):
			s.t.Fatalf("payload %s: got %v, want it written or refused as unrepresentable", quote(t.payload), t.fault)
		case t.fault != nil && t.fault.Want == "":
			s.t.Fatalf("payload %s: got %v, which doesn't say what is wanted", quote(t.payload), t.fault)
		case t.skipped && t.payload != "":
			s.t.Fatalf("payload %s: nothing was written for it, want a frame or a refusal", quote(t.payload))
		}
	}
}

// batches checks that neither the division of payloads into batches nor the room changes the result.
func (s *suite) batches() {
	for _, payloads := range s.streams(s.payloads(min(s.effort.payloads, 60)), 30) {
		want := s.encode(payloads, nil)
		again := s.encode(payloads, nil)
		predictable := bytes.Equal(want.wire, again.wire)
		check := func(how string, got *encoding) {
			s.t.Helper()
			if !slices.Equal(got.payloads(), want.payloads()) {
				s.t.Fatalf("payloads %s, %s:\n got  %s\n want %s",
					quoteAll(payloads), how, quoteAll(got.payloads()), quoteAll(want.payloads()))
			}
			if predictable && !bytes.Equal(got.wire, want.wire) {
				s.t.Fatalf("payloads %s, %s:\n got wire %s\n want     %s", quoteAll(payloads), how, quote(got.wire), quote(want.wire))
			}
			s.backAgain(got, inOnePiece)
		}
		one := slices.Repeat([]int{1}, len(payloads))
		check("each in a call of its own", s.encode(payloads, nil, one...))
		check("the end by itself", s.encode(payloads, nil, len(payloads)))
		check("in two batches", s.encode(payloads, nil, s.random.IntN(len(payloads)+1)))
		for _, n := range []int{0, 1, 7, 50} {
			check("with little room", s.encode(payloads, func(w *writer) { w.room = n }))
		}
	}
}

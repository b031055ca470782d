package codectest

import (
	"errors"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// cuts checks that each prefix of a stream yields the frames that end in it, that cuts do not change the result, and what
// the end of the stream means at each place.
func (s *suite) cuts() {
	for _, e := range s.material(s.effort.streams, s.effort.cutWire/2) {
		want := s.decode(e.wire, inOnePiece)
		s.backAgain(e, inOnePiece)
		for k := range len(e.wire) + 1 {
			s.cutAt(e, k, want)
		}
		s.alike(e.wire, want, byteByByte(len(e.wire)), nothingExamined(byteByByte(len(e.wire))))
		for range 10 {
			s.alike(e.wire, want, s.randomly(len(e.wire)))
		}
	}
}

// cutAt shows the first k bytes of e, then either the rest or the end.
func (s *suite) cutAt(e *encoding, k int, want *transcript) {
	s.t.Helper()
	r, done := s.reader()
	defer done()
	if err := r.feed(e.wire[:k], false); err != nil {
		s.t.Fatalf("the first %d bytes of stream %s: %v", k, quote(e.wire), err)
	}
	whole := e.payloads()[:e.whole(k)]
	payloads, fault, _ := r.got.split()
	switch {
	case fault != nil:
		s.t.Fatalf("the first %d bytes of stream %s: got %v, want %s and an unfinished frame at most",
			k, quote(e.wire), &r.got, quoteAll(whole))
	case !slices.Equal(payloads, whole) && !s.c.Datagrams:
		s.t.Fatalf("the first %d bytes of stream %s: got payloads %s, want those whose frames end there, %s",
			k, quote(e.wire), quoteAll(payloads), quoteAll(whole))
	}
	s.endAt(e, k, r.fork())
	if err := r.feed(e.wire[k:], true); err != nil {
		s.t.Fatalf("stream %s cut at %d: %v", quote(e.wire), k, err)
	}
	if !r.got.equal(want) {
		s.t.Fatalf("stream %s cut at %d:\n got  %v\n want %v, as in one piece", quote(e.wire), k, &r.got, want)
	}
}

// endAt ends the stream after k bytes.
func (s *suite) endAt(e *encoding, k int, r *reader) {
	s.t.Helper()
	between := len(r.wire) == 0 || k >= e.framesEnd() // no frame is unfinished, as far as the suite can see
	before := len(r.got.events)
	if err := r.feed(nil, true); err != nil {
		s.t.Fatalf("the first %d bytes of stream %s, where it ends: %v", k, quote(e.wire), err)
	}
	more := r.got.events[before:]
	var fault *codecs.Fault
	if len(more) > 0 {
		fault = more[len(more)-1].fault
	}
	truncated := fault != nil && errors.Is(fault.Err, codecs.ErrTruncated)
	switch {
	case s.c.EndDelivers || s.c.Datagrams:
	case truncated && fault.At != k:
		s.t.Fatalf("stream %s ends after %d bytes: got %v, want the fault where the stream ends", quote(e.wire), k, fault)
	case truncated && len(more) == 1 && !e.endsAt(k):
	case len(more) == 0 && between:
	default:
		s.t.Fatalf("stream %s ends after %d bytes: got %v after %s, want a truncated frame, or none between frames",
			quote(e.wire), k, list(more, event.String), quoteAll(e.payloads()[:e.whole(k)]))
	}
}

// framesEnd returns where the last frame ends. Bytes that an encoder writes at the end of its stream follow it.
func (e *encoding) framesEnd() int {
	end := 0
	for _, t := range e.taken {
		end = max(end, t.end)
	}
	return end
}

// endsAt reports whether the first n bytes are whole frames, or none.
func (e *encoding) endsAt(n int) bool {
	return n == 0 || slices.ContainsFunc(e.taken, func(t taken) bool { return t.end == n })
}

// littleRoom checks that little room delays payloads but does not change them.
func (s *suite) littleRoom() {
	for _, e := range s.material(s.effort.streams, s.effort.cutWire) {
		want := s.decode(e.wire, inOnePiece)
		for _, n := range []int{0, 1, 5, 64} {
			a := s.randomly(len(e.wire))
			a.adjust = func(r *reader) { r.room = n }
			a.how = "with little room"
			s.alike(e.wire, want, a)
		}
	}
}

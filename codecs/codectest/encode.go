package codectest

import "slices"

// writer returns a writer of a new stream, and the function that closes it.
func (s *suite) writer() (*writer, func()) {
	d := s.codec.Open()
	return newWriter(s.ctx, d, s.codec.Properties()), d.Close
}

// encode encodes a stream of payloads, in batches of the given sizes and then in one batch with the rest.
func (s *suite) encode(payloads []string, adjust func(*writer), batches ...int) *encoding {
	s.t.Helper()
	w, done := s.writer()
	defer done()
	if adjust != nil {
		adjust(w)
	}
	rest := payloads
	for _, n := range batches {
		n = min(n, len(rest))
		if err := w.write(rest[:n], false); err != nil {
			s.t.Fatalf("%v", err)
		}
		rest = rest[n:]
	}
	if err := w.write(rest, true); err != nil {
		s.t.Fatalf("%v", err)
	}
	return &w.got
}

// takes reports whether payload can be represented, and isn't skipped.
func (s *suite) takes(payload string) bool {
	s.t.Helper()
	return len(s.encode([]string{payload}, nil).payloads()) == 1
}

// streams divides payloads into lists, each for a stream of its own: for datagrams of one payload, else of up to n.
func (s *suite) streams(payloads []string, n int) [][]string {
	if s.c.Datagrams {
		n = 1
	}
	return slices.Collect(slices.Chunk(payloads, n))
}

// backAgain checks that e decodes to the payloads that were written.
func (s *suite) backAgain(e *encoding, a arrival) {
	s.t.Helper()
	got := s.decode(e.wire, a)
	payloads, fault, _ := got.split()
	if fault == nil && slices.Equal(payloads, e.payloads()) {
		return
	}
	s.t.Helper()
	if len(e.taken) > 1 {
		for _, p := range e.payloads() { // if one payload alone fails too, its report is easier to read than that of the stream
			s.backAgain(s.encode([]string{p}, nil), inOnePiece)
		}
	}
	s.t.Fatalf("payloads %s were written as %s, which, %v, decodes to\n got  %v\n want %s",
		quoteAll(e.payloads()), quote(e.wire), a, got, quoteAll(e.payloads()))
}

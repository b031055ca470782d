package codectest

import (
	"fmt"
	"slices"
)

// room is the default room of a call, in bytes.
const room = 1 << 16

// reader returns a reader of a new stream, and the function that closes it.
func (s *suite) reader() (*reader, func()) {
	d := s.codec.Open()
	return newReader(s.ctx, d, s.codec.Properties()), d.Close
}

// An arrival is how a stream reaches a reader: where it is cut, and whether its end arrives with the last piece or after it.
type arrival struct {
	cuts   []int // in rising order
	eofToo bool  // the end arrives together with the last bytes
	adjust func(*reader)
	how    string
}

func (a arrival) String() string {
	const most = 16
	text := fmt.Sprintf("cut at %v", a.cuts)
	if len(a.cuts) == 0 {
		text = "in one piece"
	} else if len(a.cuts) > most {
		text = fmt.Sprintf("cut at %v and %d other places", a.cuts[:most], len(a.cuts)-most)
	}
	if a.how != "" {
		text += ", " + a.how
	}
	if !a.eofToo {
		text += ", its end by itself"
	}
	return text
}

var inOnePiece = arrival{eofToo: true}

func byteByByte(n int) arrival {
	a := arrival{how: "one byte at a time"}
	for i := 1; i < n; i++ {
		a.cuts = append(a.cuts, i)
	}
	return a
}

// randomly returns an arrival in a few pieces.
func (s *suite) randomly(n int) arrival {
	a := arrival{eofToo: s.random.IntN(2) == 0}
	for range s.random.IntN(6) + 1 {
		a.cuts = append(a.cuts, s.random.IntN(n+1))
	}
	slices.Sort(a.cuts)
	return a
}

// decode decodes wire, which arrives as a says.
func (s *suite) decode(wire []byte, a arrival) *transcript {
	s.t.Helper()
	r, done := s.reader()
	defer done()
	if a.adjust != nil {
		a.adjust(r)
	}
	if err := r.arrive(wire, a); err != nil {
		s.t.Fatalf("stream %s %v: %v", quote(wire), a, err)
	}
	return &r.got
}

func (r *reader) arrive(wire []byte, a arrival) error {
	from := 0
	for _, cut := range a.cuts {
		if err := r.feed(wire[from:cut], false); err != nil {
			return err
		}
		from = cut
	}
	if err := r.feed(wire[from:], a.eofToo); err != nil {
		return err
	}
	if a.eofToo {
		return nil
	}
	return r.feed(nil, true)
}

// alike checks that wire decodes to want for each of the arrivals.
func (s *suite) alike(wire []byte, want *transcript, arrivals ...arrival) {
	s.t.Helper()
	for _, a := range arrivals {
		if got := s.decode(wire, a); !got.equal(want) {
			s.t.Fatalf("stream %s %v:\n got  %v\n want %v, as in one piece", quote(wire), a, got, want)
		}
	}
}

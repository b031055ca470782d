package escape

import (
	"bytes"
	"math"
)

// bare is style none: payloads are written unchanged, or refused.
type bare struct {
	pairs
	o  *rules
	in *machine
}

func newBare(o *rules) *bare {
	s := &bare{o: o, pairs: newPairs(o, newSet(func(byte) bool { return false }))}
	s.in = s.machine()
	return s
}

func (s *bare) machine() *machine {
	m := &machine{ignore: s.o.ignore}
	m.addTerminators(s.o.terminators)
	return m.seal()
}

// refuse reads payload and the terminator like a receiver: the frame must end with the last byte of the terminator, and the
// terminator that is found there must be this one.
func (s *bare) refuse(payload []byte) (at int, want string) {
	if at, want := refuseLost(s.lost, payload); at >= 0 {
		return at, want
	}
	if s.o.start != "" {
		if at := bytes.Index(payload, []byte(s.o.start)); at >= 0 {
			return at + len(s.o.start) - 1, "a payload without what frames start with"
		}
	}
	stops := s.in.stops.cursor()
	r := s.in.read(payload, 0, s.in.first, 0, math.MaxInt, &stops)
	if r.kind != unfinished {
		return r.at, "a payload without a terminator"
	}
	state := r.state
	for i, c := range []byte(s.o.terminator) {
		to := s.in.states[state].next[c]
		last := i == len(s.o.terminator)-1
		if isEnd(to) != last || last && int(to-endsFrame) != len(s.o.terminator) {
			return len(payload) - 1, "a payload whose end is not part of a terminator"
		}
		state = to
	}
	return -1, ""
}

func (s *bare) stuffing(payload []byte) (plain, most int) { return len(payload), len(payload) }

func (s *bare) most(maxFrame int64) int64 { return maxFrame }

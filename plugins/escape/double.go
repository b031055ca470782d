package escape

import "fmt"

// doubled is style double: an escape in the payload is written twice, and each terminator begins with an escape.
//
//	escape DLE, terminator DLE ETX    41 10 42    <->    41 10 10 42 10 03
type doubled struct {
	pairs
	o *rules
}

func newDoubled(o *rules) *doubled {
	s := &doubled{o: o, pairs: newPairs(o, newSet(func(c byte) bool { return c == o.escape }))}
	s.stands[o.escape], s.means[o.escape] = o.escape, o.escape
	return s
}

func (s *doubled) machine() *machine {
	m := &machine{ignore: s.o.ignore}
	m.addTerminators(nil) // only the state text
	want := fmt.Sprintf("%s or the rest of a terminator after %s", one(s.escape), one(s.escape))
	escaped := m.addEscape(s.escape, want, func(c byte) uint16 {
		if c == s.escape {
			return text
		}
		return violates
	})
	rests := make([]string, len(s.o.terminators))
	for i, t := range s.o.terminators {
		rests[i] = t[1:]
	}
	m.grow(escaped, rests, func(rest string) uint16 { return endsFrame + 1 + uint16(len(rest)) })
	return m.seal()
}

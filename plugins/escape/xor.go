package escape

// xored is style xor: the escape is followed by the byte with some bits inverted. A receiver accepts every byte in this
// form, since a sender may escape any byte (RFC 1662, section 4.2).
//
//	7D ^20    31 7E 32    <->    31 7D 5E 32 7E
type xored struct {
	pairs
	o *rules
}

func newXored(o *rules) *xored {
	s := &xored{o: o, pairs: newPairs(o, newSet(o.xors))}
	for c := range 256 {
		s.stands[c], s.means[c] = byte(c)^o.xor, byte(c)^o.xor
	}
	return s
}

func (s *xored) machine() *machine {
	m := &machine{ignore: s.o.ignore}
	m.addTerminators(s.o.terminators)
	escaped := m.addEscape(s.escape, "a byte after "+one(s.escape), func(byte) uint16 { return text })
	if s.o.abort {
		m.grow(escaped, s.o.terminators, func(string) uint16 { return abandons })
	}
	return m.seal()
}

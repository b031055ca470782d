package escape

import "bytes"

// fewBytes is how many bytes are looked for one by one with bytes.IndexByte, which is vectorised; a look-up for each
// byte of the text is faster for more.
const fewBytes = 3

// A set is a set of bytes that can be looked for.
type set struct {
	has [256]bool
	few []byte // the members, in order, unless there are more than fewBytes
	n   int
}

func newSet(members func(byte) bool) *set {
	s := &set{}
	for c := range 256 {
		if members(byte(c)) {
			s.has[c] = true
			s.n++
			s.few = append(s.few, byte(c))
		}
	}
	if s.n > fewBytes {
		s.few = nil
	}
	return s
}

// index returns where the first member stands in text, or len(text).
func (s *set) index(text []byte) int {
	c := s.cursor()
	return c.find(text, 0)
}

func (s *set) cursor() cursor { return cursor{set: s, next: [fewBytes]int{-1, -1, -1}} }

// A cursor looks for members of a set, from the front of one text to its back. It remembers where each of few members
// comes next, so that a text is searched once for each of them, however often the others occur.
type cursor struct {
	*set
	next [fewBytes]int
}

// find returns where the first member at or behind from stands in text, or len(text).
func (c *cursor) find(text []byte, from int) int {
	if c.n > fewBytes {
		for i, b := range text[from:] {
			if c.has[b] {
				return from + i
			}
		}
		return len(text)
	}
	first := len(text)
	for i, b := range c.few {
		if c.next[i] < from {
			c.next[i] = len(text)
			if at := bytes.IndexByte(text[from:], b); at >= 0 {
				c.next[i] = from + at
			}
		}
		first = min(first, c.next[i])
	}
	return first
}

package escape

import "bytes"

// fewBytes is the greatest size of a set whose members are searched one by one with bytes.IndexByte, which is vectorised.
// For larger sets, looking up each byte of the text is faster.
const fewBytes = 3

// A set is a set of bytes that can be searched for.
type set struct {
	has [256]bool
	few []byte // the members, in order; nil if there are more than fewBytes
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

// index returns the position of the first member in text, or len(text).
func (s *set) index(text []byte) int {
	c := s.cursor()
	return c.find(text, 0)
}

func (s *set) cursor() cursor { return cursor{set: s, next: [fewBytes]int{-1, -1, -1}} }

// A cursor searches one text for members of a set, from front to back. If the set has few members, it remembers the next
// position of each, so that it searches the text only once for each of them, even if the others occur often.
type cursor struct {
	*set
	next [fewBytes]int
}

// find returns the position of the first member in text at or after from, or len(text).
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

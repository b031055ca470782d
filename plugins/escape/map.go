package escape

import (
	"fmt"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// mapped is style map: the escape is followed by the byte to which the map maps the payload's byte.
//
//	{LF: n, \: \}    a LF b    <->    a \ n b LF
type mapped struct {
	pairs
	o     *rules
	valid [256]bool // may follow the escape
}

func newMapped(o *rules) *mapped {
	s := &mapped{o: o, pairs: newPairs(o, newSet(func(c byte) bool {
		_, ok := o.pairs[c]
		return ok
	}))}
	for from, to := range o.pairs {
		s.stands[from], s.means[to], s.valid[to] = to, from, true
	}
	return s
}

func (s *mapped) machine() *machine {
	m := &machine{ignore: s.o.ignore}
	m.addTerminators(s.o.terminators)
	m.addEscape(s.escape, s.want(), func(c byte) uint16 {
		if s.valid[c] {
			return text
		}
		return violates
	})
	return m.seal()
}

// want lists the bytes that may follow the escape.
func (s *mapped) want() string {
	var list []string
	for c := range 256 {
		if !s.valid[c] {
			continue
		}
		if len(list) == 8 {
			list = append(list, "…")
			break
		}
		list = append(list, one(byte(c)))
	}
	return fmt.Sprintf("%s after %s", strings.Join(list, " or "), one(s.escape))
}

func one(c byte) string { return codecs.Bytes([]byte{c}).String() }

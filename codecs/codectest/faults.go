package codectest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/framehost/framehost/codecs/codeccall"
)

// smallLimit is a limit for payloads, in bytes, that garbage exceeds.
const smallLimit = 8

// faults checks that garbage and damaged streams decode alike however they are cut, with the same faults in the same
// places, also after a fault and when faults are skipped within a call, and that every result keeps the contract.
func (s *suite) faults() {
	alphabet := s.framing()
	small := *s
	if codec, err := s.configure(json.RawMessage(s.c.Options), smallLimit); err == nil {
		small.codec, small.maxFrame = codec, smallLimit
	}
	for i := range s.effort.damaged {
		garbage := []byte(s.payload(alphabet, 1+s.random.IntN(48)))
		s.damaged(garbage, i)
		small.damaged(garbage, i)
	}
	for _, e := range s.material(1+s.effort.damaged/25, 80) {
		for i := range min(25, s.effort.damaged) {
			s.damaged(s.damage(e.wire, alphabet), i)
			if i%3 == 0 {
				small.damaged(s.damage(e.wire, alphabet), i)
			}
		}
	}
}

// damage returns a copy of wire in which one or two bytes are changed, lost, repeated or inserted.
func (s *suite) damage(wire, alphabet []byte) []byte {
	out := bytes.Clone(wire)
	for range 1 + s.random.IntN(2) {
		at := s.random.IntN(len(out) + 1)
		b := alphabet[s.random.IntN(len(alphabet))]
		switch kind := s.random.IntN(4); {
		case kind == 0 || at == len(out):
			out = slices.Insert(out, at, b)
		case kind == 1:
			out = slices.Delete(out, at, at+1)
		case kind == 2:
			out[at] = b
		default:
			out[at] ^= 1 << s.random.IntN(8)
		}
	}
	return out
}

// damaged checks wire, and with every tenth i at every single cut.
func (s *suite) damaged(wire []byte, i int) {
	s.t.Helper()
	want := s.decode(wire, inOnePiece)
	little := s.randomly(len(wire))
	little.adjust, little.how = func(r *reader) { r.room = 0 }, "with no room at first"
	s.alike(wire, want, byteByByte(len(wire)), s.randomly(len(wire)), s.randomly(len(wire)), little)
	for _, skips := range []int{1, 3, codeccall.MaxSkips} {
		for _, a := range []arrival{inOnePiece, s.randomly(len(wire)), little} {
			before := a.adjust
			a.adjust = func(r *reader) {
				if before != nil {
					before(r)
				}
				r.skips = skips
			}
			a.how = fmt.Sprintf("%s, %d faults to be skipped in a call", a.how, skips)
			s.alike(wire, want, a)
		}
	}
	if i%10 == 0 {
		s.cutEverywhere(wire, want)
	}
}

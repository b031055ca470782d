package codectest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// limits checks payloads at the limit and one byte over it. A codec with a greater limit writes the latter, since a host
// passes no payload that is longer than the limit.
func (s *suite) limits() {
	if _, ok := s.sized(s.maxFrame); !ok && s.c.Sized != nil {
		s.t.Fatalf("the case's Sized(%d) is refused, want it accepted, as a payload at the limit", s.maxFrame)
	} else if !ok {
		s.t.Fatalf("got no payload of %d bytes, the limit, that is accepted: want Case.Sized, which makes one of any size, "+
			"or as Case.MaxFrame the longest payload that these options allow", s.maxFrame)
	}
	for _, p := range s.long(s.maxFrame) {
		e := s.encode([]string{p}, nil)
		s.fates(e)
		for _, a := range []arrival{inOnePiece, s.randomly(len(e.wire)), s.randomly(len(e.wire))} {
			s.backAgain(e, a)
		}
	}

	if greater, ok := s.limited(min(2*s.maxFrame+64, codecs.MaxFrame)); ok {
		if _, ok := greater.sized(s.maxFrame + 1); ok {
			s.tooLong(greater)
			return
		}
	}
	// The framing has a limit of its own. Its longest payloads are too long for a codec with half that limit.
	if smaller, ok := s.limited(s.maxFrame / 2); ok {
		smaller.tooLong(s)
	}
}

// limited returns the suite for the same codec with another limit for payloads, if it can be configured.
func (s *suite) limited(maxFrame int) (other *suite, ok bool) {
	s.t.Helper()
	if maxFrame < 1 {
		return nil, false
	}
	codec, err := s.configure(json.RawMessage(s.c.Options), maxFrame)
	if err != nil {
		return nil, false
	}
	sub := *s
	sub.codec, sub.maxFrame = codec, maxFrame
	return &sub, true
}

// tooLong checks frames with payloads that are longer than the limit, as a codec with a greater limit writes them.
func (s *suite) tooLong(greater *suite) {
	s.t.Helper()
	if p, ok := greater.sized(s.maxFrame + 1); ok && !s.c.Datagrams {
		s.amongGood(greater, p)
	}
	s.early()
	list := greater.long(s.maxFrame + 1)
	if far := 2*s.maxFrame + 1; far <= greater.maxFrame {
		list = append(list, greater.long(far)[:2]...)
	}
	for _, p := range list {
		s.overLimit(p, greater.encode([]string{p}, nil))
	}
}

// long returns payloads of n bytes: one that must be accepted, if there is one, and some that are likely to fail.
func (s *suite) long(n int) []string {
	s.t.Helper()
	var list []string
	if p, ok := s.sized(n); ok {
		list = append(list, p)
	}
	for _, b := range s.framing()[:s.effort.long] {
		list = append(list, strings.Repeat(string([]byte{b}), n))
	}
	return append(list, s.payload(s.framing(), n))
}

// overLimit checks that the frame e of payload, which is too long, is refused as too long.
func (s *suite) overLimit(payload string, e *encoding) {
	s.t.Helper()
	if len(e.payloads()) == 0 {
		return
	}
	got := s.decode(e.wire, inOnePiece)
	payloads, fault, behind := got.split()
	if len(payloads)+len(behind) > 0 || fault == nil || !errors.Is(fault.Err, codecs.ErrTooLong) {
		s.t.Fatalf("a frame with a payload of %d bytes, %s:\n got  %v\n want %v, since at most %d are allowed",
			len(payload), quote(e.wire), got, codecs.ErrTooLong, s.maxFrame)
	}
	s.alike(e.wire, got, s.inChunks(len(e.wire)), s.randomly(len(e.wire)), s.randomly(len(e.wire)))
	for _, k := range []int{s.maxFrame, s.maxFrame + 1, s.maxFrame + 2, len(e.wire) - 2, len(e.wire) - 1, len(e.wire)} {
		if 0 <= k && k <= len(e.wire) {
			s.alike(e.wire, got, arrival{cuts: []int{k}})
		}
	}
}

// early checks that a frame that is far too long is reported while it arrives, and not only when it is complete. The decoder,
// or the host by the longest wire, then holds little more of it than of a frame at the limit.
func (s *suite) early() {
	s.t.Helper()
	if s.c.Rescans || s.c.Datagrams {
		return
	}
	const constants = 192 // bytes of framing around a payload, in addition to those that the suite has seen
	longest := 0
	for _, p := range s.long(s.maxFrame) {
		longest = max(longest, len(s.encode([]string{p}, nil).wire))
	}
	enough := longest + constants
	if enough > s.maxFrame+2*constants {
		enough += longest // a payload byte may take several bytes of wire, and other bytes more than the suite has seen
	}
	greater, ok := s.limited(enough + constants)
	if !ok {
		return
	}
	for _, p := range greater.long(enough + 1) {
		wire := greater.encode([]string{p}, nil).wire
		if len(wire) <= enough {
			continue // refused
		}
		r, done := s.reader()
		err := r.feed(wire[:enough], false)
		done()
		if err != nil {
			s.t.Fatalf("the first %d bytes of a frame with a payload of %d bytes: %v", enough, len(p), err)
		}
		if _, fault, _ := r.got.split(); fault == nil || !errors.Is(fault.Err, codecs.ErrTooLong) {
			s.t.Fatalf("the first %d bytes of a frame with a payload of %d bytes, %s:\n got  %v\n want %v by then, "+
				"since a frame with a payload of %d bytes, which is the limit, has at most about %d (see codecs.Sizer)",
				enough, len(p), quote(wire), &r.got, codecs.ErrTooLong, s.maxFrame, longest)
		}
	}
}

// amongGood checks that a frame that is too long hides no frame before it, and that the result after it does not depend on
// the cuts.
func (s *suite) amongGood(greater *suite, payload string) {
	s.t.Helper()
	good, ok := s.ordinary()
	if !ok {
		return
	}
	e := greater.encode([]string{good, payload, good, good}, nil)
	got := s.decode(e.wire, inOnePiece)
	before, fault, _ := got.split()
	if fault == nil || !errors.Is(fault.Err, codecs.ErrTooLong) || !slices.Equal(before, []string{good}) {
		s.t.Fatalf("a frame of %s, one of %d bytes, and two more, %s:\n got  %v\n want the first, then %v",
			quote(good), len(payload), quote(e.wire), got, codecs.ErrTooLong)
	}
	s.alike(e.wire, got, s.inChunks(len(e.wire)), nothingExamined(s.inChunks(len(e.wire))))
	for range 12 {
		s.alike(e.wire, got, s.randomly(len(e.wire)))
	}
	end := len(e.wire) - bytes.LastIndex(e.wire, []byte(good))
	for k := len(e.wire) - 3*end; k < len(e.wire); k += 1 + end/16 {
		s.alike(e.wire, got, arrival{cuts: []int{max(0, k)}})
	}
}

// ordinary returns a short payload that is accepted, if one was found.
func (s *suite) ordinary() (payload string, ok bool) {
	s.t.Helper()
	for _, p := range append(slices.Clone(s.c.Accept), "hello", "a", "0") {
		if len(p) <= s.maxFrame && s.takes(p) {
			return p, true
		}
	}
	return "", false
}

// inChunks cuts a long stream into about a hundred pieces.
func (s *suite) inChunks(n int) arrival {
	a := arrival{}
	step := 1 + n/(3*s.effort.cutWire/4)
	for at := 1 + s.random.IntN(step); at < n; at += step {
		a.cuts = append(a.cuts, at)
	}
	return a
}

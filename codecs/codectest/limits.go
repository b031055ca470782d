package codectest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// limits checks payloads at the limit and one over it. Those over it are written by the same codec with a greater one,
// since a host hands over no payload that is longer than the limit.
func (s *suite) limits() {
	if _, ok := s.sized(s.maxFrame); !ok && s.c.Sized != nil {
		s.t.Fatalf("the case's Sized(%d) is refused, want it accepted, as a payload at the limit", s.maxFrame)
	}
	for _, p := range s.long(s.maxFrame) {
		e := s.encode([]string{p}, nil)
		s.fates(e)
		for _, a := range []arrival{inOnePiece, s.randomly(len(e.wire)), s.randomly(len(e.wire))} {
			s.backAgain(e, a)
		}
	}

	codec, err := s.configure(json.RawMessage(s.c.Options), min(2*s.maxFrame+64, codecs.MaxFrame))
	if err != nil {
		return // the framing has a limit of its own
	}
	greater := *s
	greater.codec = codec
	if p, ok := greater.sized(s.maxFrame + 1); ok && !s.c.Datagrams {
		s.amongGood(&greater, p)
	}
	for _, p := range slices.Concat(greater.long(s.maxFrame+1), greater.long(2*s.maxFrame + 1)[:2]) {
		s.overLimit(p, greater.encode([]string{p}, nil))
	}
}

// long returns payloads of n bytes: one that must be taken, where there is one, and some that are likely to go wrong.
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

// overLimit checks that the frame e of payload, which is too long, is refused for that.
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

// amongGood checks that a frame that is too long hides none before it, and that what follows doesn't depend on the cuts.
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

// ordinary returns a short payload that is taken, if one was found.
func (s *suite) ordinary() (payload string, ok bool) {
	s.t.Helper()
	for _, p := range append(slices.Clone(s.c.Accept), "hello", "a", "0") {
		if len(p) <= s.maxFrame && s.takes(p) {
			return p, true
		}
	}
	return "", false
}

// inChunks cuts a long stream into some hundred pieces.
func (s *suite) inChunks(n int) arrival {
	a := arrival{}
	step := 1 + n/(3*s.effort.cutWire/4)
	for at := 1 + s.random.IntN(step); at < n; at += step {
		a.cuts = append(a.cuts, at)
	}
	return a
}

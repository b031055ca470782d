package codectest

import (
	"bytes"
	"slices"
	"strings"
)

// framing returns the bytes that the codec itself writes around or into payloads, and bytes that many framings use.
func (s *suite) framing() []byte {
	s.t.Helper()
	var found []byte
	for _, p := range append([]string{"", "a", "ab", "hello"}, s.c.Accept...) {
		for _, b := range s.encode([]string{p}, nil).wire {
			if strings.IndexByte(p, b) < 0 && !bytes.Contains(found, []byte{b}) {
				found = append(found, b)
			}
		}
	}
	for _, b := range []byte("\n\r\x00\x1b\\\x7e\x7d\xc0\xdb\xdc\x10\x02\x03.,: |09af=-+\xff") {
		if !bytes.Contains(found, []byte{b}) {
			found = append(found, b)
		}
	}
	return found
}

// payloads returns about n payloads that are likely to fail, the shortest first.
func (s *suite) payloads(n int) []string {
	s.t.Helper()
	alphabet := s.framing()
	list := append([]string{"", "a"}, s.c.Accept...)
	for _, b := range alphabet {
		list = append(list, string([]byte{b}), string([]byte{b, b}), string([]byte{'a', b}), string([]byte{b, 'a'}))
	}
	few := alphabet[:min(5, len(alphabet))]
	for _, a := range few {
		for _, b := range few {
			for _, c := range few {
				list = append(list, string([]byte{a, b, c}))
			}
		}
	}
	if len(list) > n { // all of Accept, and some of the others
		kept := 2 + len(s.c.Accept)
		rest := list[kept:]
		s.random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		list = list[:max(kept, n*2/3)]
	}
	for len(list) < n {
		list = append(list, s.payload(alphabet, s.length()))
	}
	return list
}

// length returns the length of a random payload: mostly short.
func (s *suite) length() int {
	switch s.random.IntN(40) {
	case 0:
		return min(s.random.IntN(600), s.maxFrame)
	case 1:
		return s.maxFrame
	default:
		return min(s.random.IntN(24), s.maxFrame)
	}
}

// payload returns n random bytes: of the alphabet, of the alphabet and letters, or of all bytes.
func (s *suite) payload(alphabet []byte, n int) string {
	b := make([]byte, n)
	kind := s.random.IntN(4)
	few := alphabet[:min(len(alphabet), 1+s.random.IntN(6))]
	for i := range b {
		switch {
		case kind == 0:
			b[i] = byte(s.random.Uint32())
		case kind == 1 || kind == 2 && s.random.IntN(3) == 0:
			b[i] = few[s.random.IntN(len(few))]
		case kind == 2:
			b[i] = 'a' + byte(s.random.IntN(26))
		default:
			b[i] = alphabet[s.random.IntN(len(alphabet))]
		}
	}
	return string(b)
}

// sized returns a payload of n bytes that the codec accepts. ok is false if none was found.
func (s *suite) sized(n int) (payload string, ok bool) {
	s.t.Helper()
	if s.c.Sized != nil {
		payload := string(s.c.Sized(n))
		if len(payload) != n {
			s.t.Fatalf("the case's Sized(%d) returned %d bytes", n, len(payload))
		}
		return payload, s.takes(payload)
	}
	for _, unit := range append([]string{"a", "0"}, s.c.Accept...) {
		if unit == "" {
			continue
		}
		whole := strings.Repeat(unit, n/len(unit)+1)
		for _, p := range []string{whole[:n], whole[len(whole)-n:]} {
			if s.takes(p) {
				return p, true
			}
		}
	}
	return "", false
}

// taken returns those of payloads that the codec accepts, until their frames have about most bytes of wire.
func (s *suite) taken(payloads []string, most int) []string {
	s.t.Helper()
	e := s.encode(payloads, nil)
	var list []string
	begin, size := 0, 0
	for _, t := range e.taken {
		length := t.end - begin
		begin = t.end
		if t.fault != nil || t.skipped || size+length > most && len(list) > 0 {
			continue
		}
		if length <= 2*most {
			list = append(list, t.payload)
			size += length
		}
	}
	return list
}

// material returns a few streams of frames, each of about most bytes.
func (s *suite) material(count, most int) []*encoding {
	s.t.Helper()
	var list []*encoding
	alphabet := s.framing()
	for i := range count {
		var payloads []string
		if i == 0 {
			payloads = []string{"hi", ""}
		}
		for _, at := range s.random.Perm(len(s.c.Accept)) {
			payloads = append(payloads, s.c.Accept[at])
		}
		for range 12 {
			payloads = append(payloads, s.payload(alphabet, s.random.IntN(min(16, s.maxFrame)+1)))
		}
		for _, stream := range s.streams(s.taken(payloads, most), len(payloads)) {
			list = append(list, s.encode(stream, nil))
		}
	}
	if len(list) > 2*count && s.c.Datagrams {
		s.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:2*count]
	}
	return slices.DeleteFunc(list, func(e *encoding) bool { return len(e.wire) == 0 })
}

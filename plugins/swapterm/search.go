package swapterm

import (
	"bytes"
	"crypto/rand"
)

// quick is how many bytes are looked for one by one, which is vectorised, before the payload's bytes are counted.
const quick = 8

// scratch is memory for the search for terminators.
type scratch struct {
	terminator [longest]byte
	order      [256]byte // the pool, in the order in which it is tried
	places     []int32   // where in the payload the terminator chosen so far begins
	taken      []uint64  // a bit for each terminator: it would end a frame early
	random     [256]byte
	drawn      int // of random
}

// search returns a terminator for a declared frame of payload, which lies in s, or nil if there is none.
//
// What a terminator T must not be is known exactly. The first T in "payload T" is at the end unless one begins at some
// place of the payload: it is then what stands there, and where the payload is too short for it, it goes on with its own
// beginning, so that it is what stands there over and over again. So each of the n places of a payload forbids one
// terminator: a T exists whenever there are more than n (and not all of them are forbidden by the marker).
func (f *framing) search(s *scratch, payload []byte) []byte {
	t := s.terminator[:f.length]
	order := s.order[:copy(s.order[:], f.pool)]
	if f.random {
		s.shuffle(order)
		// Almost every long terminator will do.
		for range 4 {
			s.draw(t, f.pool)
			if !f.banned(t) && endsFirst(payload, t) {
				return t
			}
		}
	}
	for _, b := range order[:min(len(order), quick)] {
		if bytes.IndexByte(payload, b) < 0 && !f.bannedAt(nil, b) {
			t[0] = b
			return f.fill(t, 1, order)
		}
	}
	if f.length > 1 && power(len(order), f.length, 2*len(payload)+2) <= 2*len(payload)+2 {
		return f.tryAll(s, t, order, payload)
	}
	return f.narrow(s, t, order, payload)
}

// forbidden returns byte d of the terminator that place i of the payload forbids.
func forbidden(payload []byte, i, d int) byte {
	if i+d < len(payload) {
		return payload[i+d]
	}
	return payload[i+d%(len(payload)-i)]
}

// narrow chooses t byte by byte, each time the one with which the fewest places that are left would go on. With P bytes
// to choose from, and all but one of them where the marker forbids a byte, that leaves at most 1/(P-1) of the places once
// and 1/P of them each other time. So none are left in the end if there are more than 2n terminators, and the work is
// n(1 + 1/P + 1/P² + ...). For terminators of one byte it finds what there is in any case.
func (f *framing) narrow(s *scratch, t, order, payload []byte) []byte {
	var counts [256]int32
	for _, b := range payload {
		counts[b]++
	}
	for d := range t {
		found := false
		for _, b := range order {
			if t[d], found = better(counts[:], t[d], b, found, !f.bannedAt(t[:d], b)); found && counts[t[d]] == 0 {
				break
			}
		}
		if !found {
			return nil
		}
		left := counts[t[d]]
		if left == 0 {
			return f.fill(t, d+1, order)
		}
		if d+1 == len(t) {
			return nil
		}
		clear(counts[:])
		s.keep(payload, d, t[d])
		for _, i := range s.places {
			counts[forbidden(payload, int(i), d+1)]++
		}
	}
	return nil
}

// better returns the rarer of best and b, where there is a best one yet and b is allowed.
func better(counts []int32, best, b byte, found, allowed bool) (byte, bool) {
	if !allowed || found && counts[best] <= counts[b] {
		return best, found
	}
	return b, true
}

// keep leaves the places that go on with b at byte d: of all places of the payload at first, then of those kept before.
func (s *scratch) keep(payload []byte, d int, b byte) {
	if d == 0 {
		s.places = s.places[:0]
		for i, c := range payload {
			if c == b {
				s.places = append(s.places, int32(i))
			}
		}
		return
	}
	kept := s.places[:0]
	for _, i := range s.places {
		if forbidden(payload, int(i), d) == b {
			kept = append(kept, i)
		}
	}
	s.places = kept
}

// fill completes t, whose first n bytes no place goes on with: any others will do that the marker allows.
func (f *framing) fill(t []byte, n int, order []byte) []byte {
	for d := n; d < len(t); d++ {
		next := 0
		for next < len(order) && f.bannedAt(t[:d], order[next]) {
			next++
		}
		if next == len(order) {
			return nil
		}
		t[d] = order[next]
	}
	return t
}

// tryAll marks every terminator that a place forbids, and takes the first that is left. There are at most 2n+2 of them.
func (f *framing) tryAll(s *scratch, t, order, payload []byte) []byte {
	var digit [256]int
	for i := range digit {
		digit[i] = -1
	}
	for i, b := range order {
		digit[b] = i
	}
	base := len(order)
	all := power(base, f.length, 2*len(payload)+2)
	words := (all + 63) / 64
	if cap(s.taken) < words {
		s.taken = make([]uint64, words)
	}
	s.taken = s.taken[:words]
	clear(s.taken)

	// A number of length digits runs along the payload; run counts its digits since the last byte out of the pool.
	number, run := 0, 0
	for _, b := range payload {
		v := digit[b]
		if v < 0 {
			number, run = 0, 0
			continue
		}
		number, run = (number*base+v)%all, run+1
		if run >= f.length {
			s.taken[number/64] |= 1 << (number % 64)
		}
	}
	for i := max(0, len(payload)-f.length+1); i < len(payload); i++ {
		number, whole := 0, true
		for d := range f.length {
			v := digit[forbidden(payload, i, d)]
			whole = whole && v >= 0
			number = number*base + max(v, 0)
		}
		if whole {
			s.taken[number/64] |= 1 << (number % 64)
		}
	}
	for number := range all {
		if s.taken[number/64]>>(number%64)&1 != 0 {
			continue
		}
		for d, rest := f.length-1, number; d >= 0; d, rest = d-1, rest/base {
			t[d] = order[rest%base]
		}
		if !f.banned(t) {
			return t
		}
	}
	return nil
}

// banned reports whether t can't be in force in a stream.
func (f *framing) banned(t []byte) bool { return f.stream && alike(t, f.marker) }

// bannedAt reports whether a terminator that begins with front and b is banned for that, b being where it is decided.
func (f *framing) bannedAt(front []byte, b byte) bool {
	decided := min(f.length, len(f.marker)) - 1
	return f.stream && len(front) == decided && b == f.marker[decided] && string(front) == string(f.marker[:decided])
}

// power returns base to the power of exponent, or some number beyond most if that is more.
func power(base, exponent, most int) int {
	n := 1
	for range exponent {
		if n *= base; n > most {
			break
		}
	}
	return n
}

// draw fills t with bytes of pool, each with the same chance. They are unpredictable, so that who writes payloads can't
// make the encoder search by putting the next terminator into one.
func (s *scratch) draw(t, pool []byte) {
	for i := range t {
		t[i] = pool[s.below(len(pool))]
	}
}

func (s *scratch) shuffle(list []byte) {
	for i := len(list) - 1; i > 0; i-- {
		j := s.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// below returns a random number from 0 to n-1; n is at most 256.
func (s *scratch) below(n int) int {
	fair := 256 - 256%n // the values above would come up more often
	for {
		if s.drawn == 0 {
			rand.Read(s.random[:]) // never fails
			s.drawn = len(s.random)
		}
		s.drawn--
		if v := int(s.random[s.drawn]); v < fair {
			return v % n
		}
	}
}

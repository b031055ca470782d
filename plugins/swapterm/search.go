package swapterm

import (
	"bytes"
	"crypto/rand"
)

// quick is how many bytes are searched for one by one, which is vectorised, before the payload's bytes are counted.
const quick = 8

// scratch is memory for the search for terminators.
type scratch struct {
	terminator [longest]byte
	order      [256]byte // the pool, in the order in which its bytes are tried
	places     []int32   // positions in the payload at which the terminator chosen so far occurs
	taken      []uint64  // a bit for each terminator that would end a frame early
	random     [256]byte
	drawn      int // bytes of random that are left
}

// search returns a terminator for a declared frame of payload, or nil if there is none. The terminator lies in s.
//
// The terminators T that can't be used are known exactly. The first T in "payload T" is at the end unless a T begins
// somewhere in the payload. A T that begins at a given position must consist of the bytes there; if the payload is too
// short for it, T continues with its own beginning, so that it repeats those bytes. So each of the n positions of a
// payload forbids exactly one terminator. A usable T therefore exists whenever there are more than n terminators, unless
// the marker forbids all the rest.
func (f *framing) search(s *scratch, payload []byte) []byte {
	t := s.terminator[:f.length]
	order := s.order[:copy(s.order[:], f.pool)]
	if f.random {
		s.shuffle(order)
		// Almost every long terminator can be used.
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

// forbidden returns byte d of the terminator that position i of the payload forbids.
func forbidden(payload []byte, i, d int) byte {
	if i+d < len(payload) {
		return payload[i+d]
	}
	return payload[i+d%(len(payload)-i)]
}

// narrow chooses t byte by byte: each time the byte with which the fewest of the remaining positions continue. Let P be the
// number of bytes to choose from; once the marker may forbid one of them. Then at most 1/P of the positions remain each time,
// and once 1/(P-1). So none remain in the end if there are more than 2n terminators, and the work is
// n(1 + 1/P + 1/P² + ...). For terminators of one byte narrow finds one whenever one exists.
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

// better returns the rarer of best and b, and whether there is one: found says that best is valid, allowed that b is.
func better(counts []int32, best, b byte, found, allowed bool) (byte, bool) {
	if !allowed || found && counts[best] <= counts[b] {
		return best, found
	}
	return b, true
}

// keep keeps the positions that have b as byte d: at first of all positions of the payload, later of those kept before.
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

// fill completes t, with whose first n bytes no position continues: the rest may be any bytes that the marker allows.
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

// tryAll marks every terminator that a position forbids, and returns the first unmarked one. There are at most 2n+2
// terminators.
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

	// number is the last f.length digits of the payload; run counts the digits since the last byte that is not in the pool.
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

// bannedAt reports whether byte b after front decides that a terminator is banned.
func (f *framing) bannedAt(front []byte, b byte) bool {
	decided := min(f.length, len(f.marker)) - 1
	return f.stream && len(front) == decided && b == f.marker[decided] && string(front) == string(f.marker[:decided])
}

// power returns base to the power of exponent, or some number greater than most if the power is greater than most.
func power(base, exponent, most int) int {
	n := 1
	for range exponent {
		if n *= base; n > most {
			break
		}
	}
	return n
}

// draw fills t with bytes of pool, each with the same probability. They are unpredictable, so that the author of a payload
// can't force the encoder to search by putting the next terminator into the payload.
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
	fair := 256 - 256%n // values from fair on would make some results more probable
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

package escape

// A machine reads the body of a frame, after start, byte by byte up to its end. All styles are machines with different
// states. Reading is fast because nearly all bytes lead to the state text, in which read searches for the next byte that
// leads to anything else.
type machine struct {
	states []state
	first  uint16 // at the start of a body
	stops  *set   // the bytes that lead from the state text to anything else
	ignore *set
	lines  bool // the style is line_dot: first and text differ, and first follows each LF
}

// text is the state in which nothing is pending.
const text uint16 = 0

// A byte leads to a state, or to one of these.
const (
	endsFrame  uint16 = 0x8000 // plus the length of the terminator that ends here
	abandons   uint16 = 0xfffd // an abort ends here
	violates   uint16 = 0xfffe
	isDropped  uint16 = 0xffff // the byte is ignored, and the state does not change
	longestEnd        = 0xff   // endsFrame+longestEnd is the greatest value that ends a frame
)

func isEnd(to uint16) bool { return to >= endsFrame && to <= endsFrame+longestEnd }

// A state represents pending bytes: bytes that were read and whose meaning depends on later bytes.
type state struct {
	next [256]uint16

	// Bytes become payload when no later byte can change that. A byte that leads from state s to state t makes
	// s.out + 1 - t.in bytes of payload certain. In the beginning of a terminator both numbers are the length of that
	// beginning; after an escape (in 1, out 0) they make the pair count as one byte.
	in, out int

	hold   int    // number of pending bytes; reading can restart before them and needs no state for that
	branch bool   // pending bytes are not payload, so a terminator that ends here takes no payload bytes away
	whole  bool   // the body would be complete if the terminator followed
	want   string // what is wanted here, if a byte may be a violation
}

// fill makes every byte lead from state s to the state to, except bytes that are ignored.
func (m *machine) fill(s *state, to uint16) {
	for c := range 256 {
		s.next[c] = to
		if m.ignore.has[c] {
			s.next[c] = isDropped
		}
	}
}

// seal completes m. It must be called after all states were added.
func (m *machine) seal() *machine {
	m.stops = newSet(func(c byte) bool { return m.states[text].next[c] != text })
	return m
}

// grow adds branches after the state from: each of words leads to outcome(word). No word may be a prefix of another.
func (m *machine) grow(from uint16, words []string, outcome func(word string) uint16) {
	for _, word := range words {
		at := from
		for i := range len(word) {
			c, last := word[i], i == len(word)-1
			to := m.states[at].next[c]
			switch {
			case last:
				m.states[at].next[c] = outcome(word)
			case to == violates || m.states[to].hold <= m.states[at].hold: // not a branch yet
				to = uint16(len(m.states))
				s := state{in: 1, hold: m.states[at].hold + 1, branch: true, want: "the rest of a terminator"}
				m.fill(&s, violates)
				m.states = append(m.states, s)
				m.states[at].next[c] = to
			}
			at = to
		}
	}
}

// reading is the result of read.
type reading struct {
	kind    readingKind
	at      int    // the byte that made the result certain; unfinished: the length of the wire
	body    int    // ended: where the terminator begins
	payload int    // ended: bytes of payload; unfinished: bytes of payload if the frame ended here
	state   uint16 // unfinished: the state at the end of the wire; broken: the state before the violation
}

type readingKind uint8

const (
	unfinished readingKind = iota
	ended
	aborted
	broken
	tooLong
)

// read reads wire from pos on, beginning in state s. The body has settled bytes of payload before pos, and may have most
// in all.
func (m *machine) read(wire []byte, pos int, s uint16, settled, most int, stops *cursor) reading {
	for {
		if s == text {
			stop := stops.find(wire, pos)
			if stop-pos > most-settled {
				return reading{kind: tooLong, at: pos + most - settled}
			}
			settled += stop - pos
			pos = stop
		}
		at := &m.states[s]
		if pos == len(wire) {
			return reading{kind: unfinished, at: pos, payload: settled + at.out, state: s}
		}
		to := at.next[wire[pos]]
		switch {
		case to < endsFrame:
			settled += at.out + 1 - m.states[to].in
			if settled > most {
				return reading{kind: tooLong, at: pos}
			}
			s = to
		case to == isDropped:
		case to == violates:
			return reading{kind: broken, at: pos, state: s}
		case to == abandons:
			return reading{kind: aborted, at: pos}
		default:
			length := int(to - endsFrame)
			if !at.branch {
				settled += at.out + 1 - length
			}
			if settled > most {
				return reading{kind: tooLong, at: pos}
			}
			return reading{kind: ended, at: pos, body: m.back(wire, pos+1, length), payload: settled}
		}
		pos++
	}
}

// back returns where the last n bytes of wire[:end] begin, not counting ignored bytes.
func (m *machine) back(wire []byte, end, n int) int {
	if m.ignore.n == 0 {
		return end - n
	}
	for n > 0 {
		end--
		if !m.ignore.has[wire[end]] {
			n--
		}
	}
	return end
}

// restart returns the position at which reading may restart. The body in wire begins at from and was read to the end of
// wire, which left the machine in state s.
func (m *machine) restart(wire []byte, from int, s uint16) int {
	at := m.back(wire, len(wire), m.states[s].hold)
	if m.lines && s != text {
		for at > from && m.ignore.has[wire[at-1]] { // the LF must directly precede at; see stateAt
			at--
		}
	}
	return max(from, at)
}

// stateAt returns the state at a position that restart returned, in a body that begins at from.
func (m *machine) stateAt(wire []byte, from, pos int) uint16 {
	if m.lines && (pos == from || wire[pos-1] == '\n') {
		return m.first
	}
	return text
}

// discard reads wire[from:to] in state s as part of a frame that was given up. It returns the end of the frame and true,
// or to, the state there, and false.
func (m *machine) discard(wire []byte, from, to int, s uint16) (end int, next uint16, found bool) {
	stops := m.stops.cursor()
	for pos := from; ; pos++ {
		if s == text {
			pos = min(to, stops.find(wire, pos))
		}
		if pos >= to {
			return to, s, false
		}
		c := wire[pos]
		step := m.states[s].next[c]
		if step == violates {
			// The pending bytes then mean nothing, but this byte may: a terminator after a broken escape is still the best
			// guess at the frame's end.
			s = text
			step = m.states[text].next[c]
		}
		switch {
		case step == isDropped || step == violates:
		case step >= endsFrame:
			return pos + 1, text, true
		default:
			s = step
		}
	}
}

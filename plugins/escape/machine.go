package escape

// A machine reads the body of a frame, which is what stands behind start, byte by byte up to its end. All styles are
// machines; they differ in their states. Reading is fast because nearly all bytes leave the machine in the state text,
// where the next byte that does anything else is searched for.
type machine struct {
	states []state
	first  uint16 // at the start of a body
	stops  *set   // the bytes that do something in the state text
	ignore *set
	lines  bool // the style is line_dot: first and text differ, and first follows each LF
}

// text is the state in which nothing is pending.
const text uint16 = 0

// What a byte leads to is a state, or else one of these.
const (
	endsFrame  uint16 = 0x8000 // plus the length of the terminator that ends here
	abandons   uint16 = 0xfffd // an abort ends here
	violates   uint16 = 0xfffe
	isDropped  uint16 = 0xffff // the byte is ignored, the state stays
	longestEnd        = 0xff   // endsFrame plus this is the last of its kind
)

func isEnd(to uint16) bool { return to >= endsFrame && to <= endsFrame+longestEnd }

// A state is what is pending: bytes that were read, and whose meaning depends on those behind them.
type state struct {
	next [256]uint16

	// Bytes become payload when nothing behind them can change that. A byte that leads from state s to state t makes
	// s.out + 1 - t.in bytes of payload certain: for a beginning of a terminator both numbers are its length, and
	// behind an escape they say that the pair is one byte.
	in, out int

	hold   int    // pending bytes: reading can start anew in front of them, without memory
	branch bool   // pending bytes can't be payload as they stand, so a terminator that ends here takes none
	whole  bool   // what was read would be a whole body if the terminator followed
	want   string // what belongs here, where a byte may be a violation
}

// fill makes every byte lead from s to to, except those that are ignored.
func (m *machine) fill(s *state, to uint16) {
	for c := range 256 {
		s.next[c] = to
		if m.ignore.has[c] {
			s.next[c] = isDropped
		}
	}
}

// seal is called when all states are there.
func (m *machine) seal() *machine {
	m.stops = newSet(func(c byte) bool { return m.states[text].next[c] != text })
	return m
}

// grow adds branches behind the state from: each of words leads to the outcome that it has. No word is a prefix of
// another one.
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

// reading is how far a machine came.
type reading struct {
	kind    readingKind
	at      int    // the byte that made it certain; the length of the wire for unfinished
	body    int    // ended: where the terminator begins
	payload int    // ended: bytes of payload; unfinished: the same as if the frame ended here
	state   uint16 // unfinished: where it stands
}

type readingKind uint8

const (
	unfinished readingKind = iota
	ended
	aborted
	broken
	tooLong
)

// read reads wire from pos on in state s. settled payload bytes are in front of it, and more than most of them are too
// many.
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

// back returns where the last n bytes of wire[:end] begin that are not ignored.
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

// restart returns where reading may start again when wire was read to its end, from on, and left the machine in
// state s.
func (m *machine) restart(wire []byte, from int, s uint16) int {
	at := m.back(wire, len(wire), m.states[s].hold)
	if m.lines && s != text {
		for at > from && m.ignore.has[wire[at-1]] { // the LF must be the byte in front; see stateAt
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

// discard reads wire[from:to] in state s as part of a frame that was given up, whose only interesting byte is its
// last: it returns where the frame's end is, and true, or the state at to.
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
			// What was pending means nothing, then, but the byte itself may: a terminator behind a broken escape is
			// still the best guess at the frame's end.
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

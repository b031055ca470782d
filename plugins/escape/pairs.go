package escape

// pairs is the common part of the styles that write a byte as a pair: the escape, and a byte that stands for the first.
type pairs struct {
	escape byte
	stuffs *set      // the bytes that are written as a pair
	stands [256]byte // the byte that stands for each of them after the escape
	means  [256]byte // the meaning of each byte after an escape
	ignore *set
	lost   *set // the bytes that can't be written, because a receiver ignores them
	stops  *set // the bytes at which unstuff stops: the escape, and the bytes that are ignored
}

func newPairs(o *rules, stuffs *set) pairs {
	return pairs{
		escape: o.escape, stuffs: stuffs, ignore: o.ignore,
		lost:  newSet(func(c byte) bool { return o.ignore.has[c] && !stuffs.has[c] }),
		stops: newSet(func(c byte) bool { return o.ignore.has[c] || stuffs.n > 0 && c == o.escape }),
	}
}

func (p *pairs) refuse(payload []byte) (at int, want string) { return refuseLost(p.lost, payload) }

func refuseLost(lost *set, payload []byte) (at int, want string) {
	if lost.n == 0 {
		return -1, ""
	}
	if at := lost.index(payload); at < len(payload) {
		return at, "no byte that a receiver ignores"
	}
	return -1, ""
}

func (p *pairs) stuffing(payload []byte) (plain, most int) {
	plain = p.stuffs.index(payload)
	return plain, plain + 2*(len(payload)-plain)
}

func (p *pairs) stuff(dst, payload []byte, plain int) []byte {
	stops := p.stuffs.cursor()
	for plain < len(payload) {
		dst = append(dst, p.escape, p.stands[payload[plain]])
		from := plain + 1
		plain = stops.find(payload, from)
		dst = append(dst, payload[from:plain]...)
	}
	return dst
}

func (p *pairs) unstuff(dst, body []byte) []byte {
	stops := p.stops.cursor()
	for pos := 0; ; {
		stop := stops.find(body, pos)
		dst = append(dst, body[pos:stop]...)
		switch {
		case stop == len(body):
			return dst
		case p.ignore.has[body[stop]]:
			pos = stop + 1
		default:
			dst = append(dst, p.means[body[stop+1]])
			pos = stop + 2
		}
	}
}

func (p *pairs) most(maxFrame int64) int64 { return 2 * maxFrame }

// addEscape adds the state after an escape, in which every byte leads to outcome(byte), and returns it.
func (m *machine) addEscape(escape byte, want string, outcome func(byte) uint16) uint16 {
	at := uint16(len(m.states))
	for i := range m.states {
		m.states[i].next[escape] = at
	}
	s := state{in: 1, hold: 1, branch: true, want: want}
	for c := range 256 {
		s.next[c] = outcome(byte(c))
	}
	m.states = append(m.states, s)
	return at
}

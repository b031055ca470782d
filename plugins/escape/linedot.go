package escape

import "bytes"

// dotTerminator ends a frame of style line_dot: the CRLF of the last line, which belongs to the payload, and a line with
// only a dot.
const dotTerminator = "\r\n.\r\n"

// dotEnd is the part of dotTerminator that is written after a payload, which ends in CRLF or is empty.
const dotEnd = ".\r\n"

// lines is style line_dot, as in mail (RFC 5321, section 4.5.2): the payload consists of lines that end in CRLF, a line that
// begins with a dot gets one more, and a dot alone on its line ends the frame.
//
//	"a CRLF .b CRLF"    <->    "a CRLF ..b CRLF . CRLF"
//
// CR and LF may only occur together. If one receiver took a single CR or LF for the end of a line, and another did not, the
// first would find the end of a frame inside a payload.
type lines struct {
	o     *rules
	stops *set
}

func newLines(o *rules) *lines {
	return &lines{o: o, stops: newSet(func(c byte) bool { return c == '\n' || o.ignore.has[c] })}
}

func (s *lines) machine() *machine {
	const (
		lineStart = iota + 1
		behindCR
		dot
		dotCR
	)
	m := &machine{ignore: s.o.ignore, first: lineStart, lines: true}
	m.states = []state{
		text:      {},
		lineStart: {whole: true},
		behindCR:  {hold: 1},
		dot:       {hold: 1, in: 1, branch: true},
		dotCR:     {hold: 2, in: 1, branch: true},
	}
	for i := range m.states {
		s := &m.states[i]
		s.want = "CR and LF together"
		m.fill(s, text)
		if i == behindCR || i == dotCR {
			m.fill(s, violates)
		}
		s.next['\r'], s.next['\n'] = behindCR, violates
	}
	m.states[lineStart].next['.'] = dot
	m.states[behindCR].next['\r'], m.states[behindCR].next['\n'] = violates, lineStart
	m.states[dot].next['\r'] = dotCR
	m.states[dotCR].next['\r'], m.states[dotCR].next['\n'] = violates, endsFrame+uint16(len(dotEnd))
	return m.seal()
}

func (s *lines) refuse(payload []byte) (at int, want string) {
	if at, want := refuseLost(s.o.ignore, payload); at >= 0 {
		return at, want
	}
	for pos := 0; pos < len(payload); {
		line := payload[pos:]
		end := bytes.IndexByte(line, '\n')
		if end >= 0 {
			line = line[:end]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0 && cr < len(line)-1:
			return pos + cr, "CR and LF together"
		case end < 0:
			return len(payload) - 1, "lines that end in CRLF"
		case cr < 0:
			return pos + end, "CR and LF together"
		}
		pos += end + 1
	}
	return -1, ""
}

func (s *lines) stuffing(payload []byte) (plain, most int) {
	return 0, int(s.most(int64(len(payload))))
}

func (s *lines) stuff(dst, payload []byte, _ int) []byte {
	for len(payload) > 0 {
		if payload[0] == '.' {
			dst = append(dst, '.')
		}
		n := bytes.IndexByte(payload, '\n') + 1
		dst, payload = append(dst, payload[:n]...), payload[n:]
	}
	return dst
}

func (s *lines) unstuff(dst, body []byte) []byte {
	stops := s.stops.cursor()
	atLine := true
	for pos := 0; pos < len(body); {
		switch {
		case s.o.ignore.has[body[pos]]:
			pos++
			continue
		case atLine && body[pos] == '.':
			pos, atLine = pos+1, false
			continue
		}
		stop := stops.find(body, pos)
		atLine = stop < len(body) && body[stop] == '\n'
		if atLine {
			stop++
		}
		dst = append(dst, body[pos:stop]...)
		pos = stop
	}
	return dst
}

// most returns the greatest length of a body: the shortest line that gets a dot has three bytes.
func (s *lines) most(maxFrame int64) int64 { return maxFrame + maxFrame/3 }

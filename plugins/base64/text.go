package base64

import (
	"bytes"
	"encoding/base64"
	"sync"

	"github.com/framehost/framehost/codecs"
)

// A text is a way to write bytes in 64 characters.
type text struct {
	encoding *base64.Encoding // with padding, where it is written
	decoder  decoder          // without; refuses trailing bits where the text is strict
	values   [256]byte        // of digits; 255: none
	padding  Padding
	wrap     int
	lineEnd  []byte
	strict   bool
	passed   [256]bool // bytes to pass over, when the text is not strict
}

const noDigit = 255

// encodedLen returns the length of the text of n bytes.
func (t *text) encodedLen(n int) int {
	characters := t.encoding.EncodedLen(n)
	if t.wrap == 0 || characters == 0 {
		return characters
	}
	return characters + (characters-1)/t.wrap*len(t.lineEnd)
}

// encode writes the text of payload to dst, which is as long as that.
func (t *text) encode(dst, payload []byte) {
	if t.wrap == 0 {
		t.encoding.Encode(dst, payload)
		return
	}
	// All characters at the end of dst first; then each line moves forward to its place, in front of those behind it.
	rest := dst[len(dst)-t.encoding.EncodedLen(len(payload)):]
	t.encoding.Encode(rest, payload)
	for len(rest) > t.wrap {
		n := copy(dst, rest[:t.wrap])
		n += copy(dst[n:], t.lineEnd)
		dst, rest = dst[n:], rest[t.wrap:]
	}
	copy(dst, rest)
}

// longest returns the length of the longest text of up to maxFrame bytes that is read.
func (t *text) longest(maxFrame int) int {
	n := t.encodedLen(maxFrame)
	if !t.strict {
		// As many bytes to pass over as there are digits.
		n = max(n, int(min(2*int64(t.encoding.EncodedLen(maxFrame)), codecs.MaxWire-maxConstant)))
	}
	return n
}

// digits returns how many digits written has, padding left out, if it is well-formed as far as lengths tell.
func (t *text) digits(written []byte) (n int, ok bool) {
	characters := len(written)
	var end [2]byte
	if t.plain(written) {
		copy(end[:], written[max(0, len(written)-2):])
		if characters == 1 {
			end[1], end[0] = end[0], 0
		}
	} else {
		characters = 0
		lines := lines{text: t, rest: written}
		for line := lines.next(); len(line) > 0; line = lines.next() {
			if characters += len(line); len(line) > 1 {
				end[0] = line[len(line)-2]
			} else {
				end[0] = end[1]
			}
			end[1] = line[len(line)-1]
		}
		if lines.broken {
			return 0, false
		}
	}
	padding := 0
	if t.padding != PaddingNone && end[1] == '=' {
		if padding = 1; end[0] == '=' {
			padding = 2
		}
	}
	switch {
	case characters%4 == 0:
		return characters - padding, true
	case padding > 0 || t.padding == PaddingRequired:
		return 0, false
	default:
		return characters, characters%4 != 1
	}
}

// plain reports whether nothing is to be taken out of written, if it is well-formed.
func (t *text) plain(written []byte) bool {
	if t.wrap > 0 {
		return false
	}
	return t.strict || bytes.IndexByte(written, '\r') < 0 && bytes.IndexByte(written, '\n') < 0
}

// decode decodes written, of which digits says how many it has, into dst, which is as long as they make it. It is
// false when written is malformed.
func (t *text) decode(dst, written []byte, digits int) bool {
	if t.plain(written) {
		return t.decodeDigits(dst, written[:digits])
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	filled := 0
	lines := lines{text: t, rest: written}
	for line := lines.next(); len(line) > 0 && digits > 0; line = lines.next() {
		line = line[:min(len(line), digits)]
		digits -= len(line)
		for len(line) > 0 {
			n := copy(chunk[filled:], line)
			filled, line = filled+n, line[n:]
			if filled == len(chunk) {
				size := decodedLen(filled)
				if !t.decodeDigits(dst[:size], chunk[:]) {
					return false
				}
				dst, filled = dst[size:], 0
			}
		}
	}
	return t.decodeDigits(dst, chunk[:filled])
}

// decodeDigits decodes digits, which are as many as dst has room for, or is false. The libraries pass over CR and LF
// even when they are strict: then dst is not full.
func (t *text) decodeDigits(dst, digits []byte) bool {
	n, err := t.decoder.Decode(dst, digits)
	return err == nil && n == len(dst)
}

// chunks lends memory in which the lines of a text are joined. Each chunk but the last is decoded on its own, so its
// size is a multiple of 4.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

const chunkSize = 1024

// decodedLen returns how many bytes that many digits stand for.
func decodedLen(digits int) int { return digits/4*3 + digits%4*6/8 }

// digitsOf returns how many digits n bytes take.
func digitsOf(n int) int { return n/3*4 + (n%3*8+5)/6 }

// lines takes a text apart.
type lines struct {
	text   *text
	rest   []byte
	broken bool // a line is not followed as it must be
}

// next returns the next run of characters with nothing between them; none at the end.
func (l *lines) next() []byte {
	if l.text.strict {
		return l.nextWrapped()
	}
	begin := 0
	for begin < len(l.rest) && l.text.passed[l.rest[begin]] {
		begin++
	}
	end := begin
	for end < len(l.rest) && !l.text.passed[l.rest[end]] {
		end++
	}
	line := l.rest[begin:end]
	l.rest = l.rest[end:]
	return line
}

func (l *lines) nextWrapped() []byte {
	t := l.text
	if len(l.rest) <= t.wrap {
		line := l.rest
		l.rest = nil
		return line
	}
	line, behind := l.rest[:t.wrap], l.rest[t.wrap:]
	if l.rest = bytes.TrimPrefix(behind, t.lineEnd); len(l.rest) == 0 || len(l.rest) == len(behind) {
		l.broken, l.rest = true, nil
	}
	return line
}

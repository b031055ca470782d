package base64

import (
	"bytes"
	"encoding/base64"
	"sync"

	"github.com/framehost/framehost/codecs"
)

// A text is a way of writing bytes in 64 characters.
type text struct {
	encoding *base64.Encoding // with padding if the encoder writes it
	decoder  decoder          // without padding; if strict, it refuses trailing bits
	values   [256]byte        // of digits; noDigit: the byte is none
	padding  Padding
	wrap     int
	lineEnd  []byte
	strict   bool
	passed   [256]bool // bytes to skip if the text is not strict
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

// encode writes the text of payload to dst, which must have exactly the length of that text.
func (t *text) encode(dst, payload []byte) {
	if t.wrap == 0 {
		t.encoding.Encode(dst, payload)
		return
	}
	// All characters first go to the end of dst. Then each line moves forward to its place, before the lines after it.
	rest := dst[len(dst)-t.encoding.EncodedLen(len(payload)):]
	t.encoding.Encode(rest, payload)
	for len(rest) > t.wrap {
		n := copy(dst, rest[:t.wrap])
		n += copy(dst[n:], t.lineEnd)
		dst, rest = dst[n:], rest[t.wrap:]
	}
	copy(dst, rest)
}

// longest returns the length of the longest text that the decoder accepts for up to maxFrame bytes.
func (t *text) longest(maxFrame int) int {
	n := t.encodedLen(maxFrame)
	if !t.strict {
		// As many skipped bytes as digits.
		n = max(n, int(min(2*int64(t.encoding.EncodedLen(maxFrame)), codecs.MaxWire-maxConstant)))
	}
	return n
}

// digits returns the number of digits in written, without padding, and whether written is well-formed as far as lengths show.
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

// plain reports whether written, if it is well-formed, has no bytes between its digits.
func (t *text) plain(written []byte) bool {
	if t.wrap > 0 {
		return false
	}
	return t.strict || bytes.IndexByte(written, '\r') < 0 && bytes.IndexByte(written, '\n') < 0
}

// decode decodes written, which has that many digits, into dst, which must have exactly the length of the payload. It
// returns false if written is malformed.
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

// decodeDigits decodes digits into dst, which must have exactly the length of the result. It returns false if a digit is
// malformed. The libraries skip CR and LF even if they are strict: dst is then not filled, and decodeDigits returns false.
func (t *text) decodeDigits(dst, digits []byte) bool {
	n, err := t.decoder.Decode(dst, digits)
	return err == nil && n == len(dst)
}

// chunks holds memory in which the lines of a text are joined. Each chunk but the last is decoded on its own, so its size
// must be a multiple of 4.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

const chunkSize = 1024

// decodedLen returns the number of bytes that digits represent.
func decodedLen(digits int) int { return digits/4*3 + digits%4*6/8 }

// digitsOf returns the number of digits for n bytes.
func digitsOf(n int) int { return n/3*4 + (n%3*8+5)/6 }

// lines splits a text into lines.
type lines struct {
	text   *text
	rest   []byte
	broken bool // a line is not followed by a line end and another line
}

// next returns the next run of characters with nothing between them, or an empty one at the end.
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

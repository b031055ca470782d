package base64

import (
	"fmt"

	"github.com/framehost/framehost/codecs"
)

// A mistake is an error in a text, at a position that counts from the text's first byte.
type mistake struct {
	at   int
	err  error
	want string
}

// fault returns the fault of a frame that begins at offset, with decoding going on at resume.
func (m mistake) fault(offset, resume int) *codecs.Fault {
	return &codecs.Fault{Offset: offset, At: offset + m.at, Err: m.err, Want: m.want, Resume: resume}
}

const wantNotEmpty = "a payload of at least 1 byte"

func wantAtMost(maxFrame int) string { return fmt.Sprintf("a payload of at most %d bytes", maxFrame) }

// explain finds the first byte at which written is no longer the text, or the beginning of the text, of a payload of up to
// maxFrame bytes. whole means that the text ends with written. decode and explain refuse the same texts: decode is fast, and
// explain finds the reason.
func (t *text) explain(written []byte, maxFrame int, whole bool) (wrong mistake, found bool) {
	longest := t.longest(maxFrame)
	r := reading{text: t, most: digitsOf(maxFrame), maxFrame: maxFrame}
	if len(written) > longest {
		if wrong, found = r.read(written[:longest]); !found {
			wrong, found = r.tooLong(longest), true
		}
		return wrong, found
	}
	wrong, found = r.read(written)
	if !found && whole {
		wrong, found = r.end(len(written))
	}
	return wrong, found
}

// A reading checks a text byte by byte.
type reading struct {
	*text
	most     int // digits of the longest payload
	maxFrame int

	digits, padded int  // digits and padding characters so far
	column         int  // characters of the line so far
	last           byte // value of the last digit
	lastAt         int  // its position
	inLineEnd      int  // bytes of the line end so far
}

func (r *reading) read(written []byte) (wrong mistake, found bool) {
	for i, c := range written {
		switch {
		case !r.strict && r.passed[c]:
			continue
		case r.strict && r.wrap > 0 && r.column == r.wrap:
			if c != r.lineEnd[r.inLineEnd] {
				return malformed(i, fmt.Sprintf("%v after %d characters", codecs.Bytes(r.lineEnd), r.wrap)), true
			}
			if r.inLineEnd++; r.inLineEnd == len(r.lineEnd) {
				r.column, r.inLineEnd = 0, 0
			}
			continue
		case c == '=' && r.padding != PaddingNone:
			wrong, found = r.pad(i)
		default:
			wrong, found = r.readDigit(i, c)
		}
		if found {
			return wrong, true
		}
		r.column++
	}
	return mistake{}, false
}

// readDigit reads a digit.
func (r *reading) readDigit(i int, c byte) (wrong mistake, found bool) {
	value := r.values[c]
	switch {
	case value == noDigit:
		return malformed(i, wantDigit), true
	case r.padded > 0:
		return malformed(i, wantNothing), true
	case r.digits == r.most:
		return r.tooLong(i), true
	}
	r.digits, r.last, r.lastAt = r.digits+1, value, i
	return mistake{}, false
}

// pad reads a padding character.
func (r *reading) pad(i int) (wrong mistake, found bool) {
	switch {
	case r.digits%4 < 2 && r.padded == 0:
		return malformed(i, wantDigit), true
	case r.padded == 4-r.digits%4:
		return malformed(i, wantNothing), true
	case r.trailingBits():
		return malformed(r.lastAt, wantZeroBits), true
	}
	r.padded++
	return mistake{}, false
}

// end reads the end of the text.
func (r *reading) end(at int) (wrong mistake, found bool) {
	switch left := r.digits % 4; {
	case r.inLineEnd > 0 || r.column == 0 && r.digits > 0 && r.strict:
		return malformed(at, wantLine), true
	case left == 1:
		return malformed(at, wantDigit), true
	case r.padded > 0 && left+r.padded < 4, r.padded == 0 && left > 0 && r.padding == PaddingRequired:
		return malformed(at, wantPadding), true
	case r.trailingBits():
		return malformed(r.lastAt, wantZeroBits), true
	}
	return mistake{}, false
}

// trailingBits reports whether the last digit, if no other follows, has unused bits that must be zero and are not.
func (r *reading) trailingBits() bool {
	if !r.strict {
		return false
	}
	return r.digits%4 == 2 && r.last&0xF != 0 || r.digits%4 == 3 && r.last&3 != 0
}

func (r *reading) tooLong(at int) mistake {
	return mistake{at: at, err: codecs.ErrTooLong, want: wantAtMost(r.maxFrame)}
}

const (
	wantDigit    = "a base64 digit"
	wantNothing  = "nothing after the padding"
	wantPadding  = "padding up to 4 characters"
	wantLine     = "another line after the end of a line"
	wantZeroBits = "a last digit whose unused bits are zero"
)

func malformed(at int, want string) mistake {
	return mistake{at: at, err: codecs.ErrMalformed, want: want}
}

package base64

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// Options of the base64 codec. The zero value is not valid; [Codec] has the defaults.
type Options struct {
	Alphabet   codecs.Bytes `json:"alphabet" jsonschema_description:"std (RFC 4648 section 4), url (section 5), or 64 distinct bytes, neither CR nor LF among them"`
	Padding    Padding      `json:"padding" jsonschema:"enum=required,enum=none,enum=optional" jsonschema_description:"whether = fills the last group up to 4 characters; optional: it is written, and read or missed"`
	Terminator codecs.Bytes `json:"terminator" jsonschema_description:"ends each frame; up to 64 bytes, none of them a digit or padding; empty: the end of the datagram ends the frame"`
	Wrap       int          `json:"wrap" jsonschema:"minimum=0,maximum=65536" jsonschema_description:"characters in a line; 0: one line, however long"`
	LineEnd    codecs.Bytes `json:"line_end" jsonschema_description:"with wrap, what stands between two lines; 1 to 64 bytes, none of them a digit or padding, without the terminator in it"`
	Strict     bool         `json:"strict" jsonschema_description:"accept the one text that the encoder writes, and no other; false: ignore unused bits of the last digit, and pass over CR, LF and the bytes of line_end"`
	Empty      codecs.Empty `json:"empty" jsonschema_description:"an empty payload is carried, or dropped and counted, or a fault; with an empty terminator it can't be carried"`
}

// Padding says whether texts are padded to a multiple of four characters.
type Padding string

// The kinds of padding.
const (
	PaddingRequired Padding = "required"
	PaddingNone     Padding = "none"
	PaddingOptional Padding = "optional"
)

const (
	std = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

	maxConstant = 64 // bytes of terminator and line_end
	maxWrap     = 65536
	defaultEnd  = "\r\n" // of line_end
)

// configure makes the framing.
func configure(o *Options, maxFrame int) (codecs.Framing, error) {
	if err := o.check(maxFrame); err != nil {
		return nil, err
	}
	return &framing{text: o.text(), maxFrame: maxFrame, terminator: []byte(o.Terminator), empty: o.Empty}, nil
}

// digits returns the characters for the values 0 to 63.
func (o *Options) digits() string {
	switch o.Alphabet {
	case "std":
		return std
	case "url":
		return url
	default:
		return string(o.Alphabet)
	}
}

type refuser func(option, want, got string, args ...any)

// check checks o against every rule. Its error has an OptionError for each rule that is broken.
func (o *Options) check(maxFrame int) error {
	var errs []error
	refuse := func(option, want, got string, args ...any) {
		errs = append(errs, &codecs.OptionError{Option: option, Got: fmt.Sprintf(got, args...), Want: want})
	}
	o.checkAlphabet(refuse)
	errs = append(errs, codecs.OneOf("padding", o.Padding, PaddingRequired, PaddingNone, PaddingOptional))
	o.checkConstant(refuse, "terminator", o.Terminator)
	o.checkWrap(refuse, maxFrame)
	return errors.Join(append(errs, o.Empty.Check("empty"))...)
}

func (o *Options) checkAlphabet(refuse refuser) {
	digits := o.digits()
	if len(digits) != 64 {
		if len(digits) <= 8 {
			refuse("alphabet", "std, url or 64 distinct bytes", "%v", o.Alphabet)
		} else {
			refuse("alphabet", "std, url or 64 distinct bytes", "%d bytes", len(digits))
		}
		return
	}
	for i := range digits {
		switch c := digits[i : i+1]; {
		case c == "\r" || c == "\n":
			refuse("alphabet", "neither CR nor LF, which lenient decoders pass over", "%v", codecs.Bytes(c))
		case c == "=" && o.Padding != PaddingNone:
			refuse("alphabet", "no = unless padding is none", "=")
		case strings.Contains(digits[:i], c):
			refuse("alphabet", "each byte once", "%v twice", codecs.Bytes(c))
		}
	}
}

// checkConstant checks bytes that follow a text or a line, and that must not look like a part of it.
func (o *Options) checkConstant(refuse refuser, option string, value codecs.Bytes) {
	if len(value) > maxConstant {
		refuse(option, fmt.Sprintf("at most %d bytes", maxConstant), "%d bytes", len(value))
	}
	characters := o.digits()
	if o.Padding != PaddingNone {
		characters += "="
	}
	if i := strings.IndexAny(latin1(string(value)), latin1(characters)); i >= 0 && len(o.digits()) == 64 {
		refuse(option, "no byte that is a digit or padding", "%v", value)
	}
}

// latin1 returns s with each byte as a character, so that a set of characters is a set of bytes.
func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := range s {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func (o *Options) checkWrap(refuse refuser, maxFrame int) {
	switch {
	case o.Wrap < 0 || o.Wrap > maxWrap:
		refuse("wrap", fmt.Sprintf("0 to %d", maxWrap), "%d", o.Wrap)
		return
	case o.Wrap == 0:
		if o.LineEnd != defaultEnd {
			refuse("line_end", "none without wrap", "%v", o.LineEnd)
		}
		return
	}
	o.checkConstant(refuse, "line_end", o.LineEnd)
	switch {
	case o.LineEnd == "":
		refuse("line_end", "1 to 64 bytes with wrap", "")
	case o.Terminator == "":
		refuse("terminator", "1 to 64 bytes with wrap", "")
	case strings.Contains(string(o.LineEnd), string(o.Terminator)):
		want := fmt.Sprintf("one that is not in wrapped text, where lines end in %v, such as 0x0D0A0D0A", o.LineEnd)
		refuse("terminator", want, "%v", o.Terminator)
	}
	characters := (int64(maxFrame) + 2) / 3 * 4
	if n := characters + characters/int64(o.Wrap)*int64(len(o.LineEnd)) + maxConstant; n > codecs.MaxWire {
		want := fmt.Sprintf("lines so long that a payload of %d bytes takes at most %d on the wire", maxFrame, codecs.MaxWire)
		refuse("wrap", want, "%d", o.Wrap)
	}
}

// text returns the text for o, which must have passed check.
func (o *Options) text() text {
	raw := base64.NewEncoding(o.digits()).WithPadding(base64.NoPadding)
	t := text{encoding: raw, decoder: newDecoder(o.digits(), o.Strict), padding: o.Padding, wrap: o.Wrap, lineEnd: []byte(o.LineEnd), strict: o.Strict}
	if o.Padding != PaddingNone {
		t.encoding = raw.WithPadding(base64.StdPadding)
	}
	for i := range t.values {
		t.values[i] = noDigit
	}
	for i, c := range []byte(o.digits()) {
		t.values[c] = byte(i)
	}
	for _, c := range []byte("\r\n" + o.LineEnd) {
		t.passed[c] = true
	}
	return t
}

package lenprefix

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/framehost/framehost/codecs"
)

// Options of the lenprefix codec. The zero value is not valid; [Codec] has the defaults.
type Options struct {
	Width      int          `json:"width" jsonschema:"minimum=0,maximum=10" jsonschema_description:"bytes of the length: 1 to 8 for be and le, 1 to 10 for ascii_dec and ascii_hex, 1 to 5 for bcd; 0: a decimal count of 1 to 10 digits without leading zeros, ended by separator"`
	Format     *Format      `json:"format" jsonschema:"enum=be,enum=le,enum=ascii_dec,enum=ascii_hex,enum=bcd" jsonschema_description:"how the length is written: a number in big or little endian, decimal or hex digits, or two decimal digits in each byte; default be, with width 0 ascii_dec, which is all that there is"`
	Pad        Pad          `json:"pad" jsonschema:"enum=zero,enum=space" jsonschema_description:"what stands in front of the first digit of ascii_dec and ascii_hex"`
	Counts     Counts       `json:"counts" jsonschema:"enum=payload,enum=frame" jsonschema_description:"what the length counts: what follows it (and after, or separator) up to the trailer, or everything from the first byte of before to the last of trailer"`
	Adjust     int64        `json:"adjust" jsonschema:"minimum=-2147483648,maximum=2147483647" jsonschema_description:"what is announced is what is counted plus this"`
	Before     codecs.Bytes `json:"before" jsonschema_description:"constant bytes at the front of each frame; up to 64"`
	After      codecs.Bytes `json:"after" jsonschema_description:"constant bytes after the length; up to 64; not with width 0"`
	Trailer    codecs.Bytes `json:"trailer" jsonschema_description:"constant bytes after each payload; up to 64"`
	Separator  codecs.Bytes `json:"separator" jsonschema_description:"constant bytes that end a count of width 0, the first of them not a digit; 1 to 64"`
	KeepHeader bool         `json:"keep_header" jsonschema_description:"the header is part of the payload: everything in front of the trailer is delivered, and an encoder checks the length it finds instead of writing one"`
	Offset     int          `json:"offset" jsonschema:"minimum=0,maximum=4096" jsonschema_description:"with keep_header, where the length begins, counted in bytes from the frame's first; what lies between before and it may be anything; 0: directly after before"`
	Control    []uint64     `json:"control" jsonschema:"maxItems=64" jsonschema_description:"with keep_header, announced values that mean a bare header: nothing follows it, no trailer either"`
	Empty      codecs.Empty `json:"empty" jsonschema_description:"an empty payload is carried, or dropped and counted, or a fault"`
}

// Format is the format of a length.
type Format string

// The formats.
const (
	BE       Format = "be"
	LE       Format = "le"
	ASCIIDec Format = "ascii_dec"
	ASCIIHex Format = "ascii_hex"
	BCD      Format = "bcd"
)

// Pad is the character that pads a length of digits to its width.
type Pad string

// The pads.
const (
	PadZero  Pad = "zero"
	PadSpace Pad = "space"
)

// Counts says which bytes a length counts.
type Counts string

// The values of Counts.
const (
	CountsPayload Counts = "payload"
	CountsFrame   Counts = "frame"
)

// widest is the greatest width of each format.
var widest = map[Format]int{BE: 8, LE: 8, ASCIIDec: 10, ASCIIHex: 10, BCD: 5}

const (
	maxConstant = 64   // bytes of before, after, trailer, separator
	maxOffset   = 4096 // bytes
	maxControl  = 64   // values
)

// configure makes the framing, and fills in the defaults of the format, the offset and the control values.
func configure(o *Options, maxFrame int) (codecs.Framing, error) {
	if o.Format == nil {
		format := BE
		if o.Width == 0 {
			format = ASCIIDec
		}
		o.Format = &format
	}
	if o.KeepHeader && o.Offset == 0 {
		o.Offset = len(o.Before)
	}
	if o.Control == nil {
		o.Control = []uint64{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o.framing(maxFrame), nil
}

// check checks o against every rule. Its error has an OptionError for each rule that is broken.
func (o *Options) check() error {
	var errs []error
	refuse := func(option, want, got string, args ...any) {
		errs = append(errs, &codecs.OptionError{Option: option, Got: fmt.Sprintf(got, args...), Want: want})
	}
	o.checkLength(refuse)
	if len(errs) == 0 {
		o.checkRange(refuse)
	}
	o.checkHeader(refuse)
	errs = append(errs, codecs.OneOf("counts", o.Counts, CountsPayload, CountsFrame), o.Empty.Check("empty"))
	for _, c := range []struct {
		option string
		value  codecs.Bytes
	}{{"before", o.Before}, {"after", o.After}, {"trailer", o.Trailer}, {"separator", o.Separator}} {
		if len(c.value) > maxConstant {
			refuse(c.option, fmt.Sprintf("at most %d bytes", maxConstant), "%d bytes", len(c.value))
		}
	}
	return errors.Join(errs...)
}

type refuser func(option, want, got string, args ...any)

// checkLength checks the options for the form of the length.
func (o *Options) checkLength(refuse refuser) {
	most, known := widest[*o.Format]
	digits := *o.Format == ASCIIDec || *o.Format == ASCIIHex
	switch {
	case !known:
		refuse("format", "be, le, ascii_dec, ascii_hex or bcd", "%q", *o.Format)
	case o.Width == 0 && *o.Format != ASCIIDec:
		refuse("format", "ascii_dec with width 0", "%q", *o.Format)
	case o.Width < 0 || o.Width > most:
		refuse("width", fmt.Sprintf("1 to %d with format %s, or 0 with a separator", most, *o.Format), "%d", o.Width)
	}
	switch {
	case o.Pad != PadZero && o.Pad != PadSpace:
		refuse("pad", "zero or space", "%q", o.Pad)
	case o.Pad == PadSpace && o.Width == 0:
		refuse("pad", "zero with width 0, which has nothing to pad", "%q", o.Pad)
	case o.Pad == PadSpace && known && !digits:
		refuse("pad", fmt.Sprintf("zero with format %s; only digits are padded with spaces", *o.Format), "%q", o.Pad)
	}
	switch {
	case o.Width != 0 && o.Separator != "":
		refuse("separator", "none unless width is 0", "%v", o.Separator)
	case o.Width == 0 && o.Separator == "":
		refuse("separator", "1 to 64 bytes with width 0", "")
	case o.Width == 0 && o.Separator[0]-'0' <= 9:
		refuse("separator", "a first byte that is not a digit", "%v", o.Separator)
	}
	if o.Width == 0 && o.After != "" {
		refuse("after", "none with width 0; add it to separator", "%v", o.After)
	}
}

// checkRange checks that the length, whose form is valid, can announce payloads and the control values.
func (o *Options) checkRange(refuse refuser) {
	most := number{format: *o.Format, width: o.Width}.most()
	switch {
	case o.Adjust < math.MinInt32 || o.Adjust > math.MaxInt32:
		refuse("adjust", fmt.Sprintf("%d to %d", math.MinInt32, math.MaxInt32), "%d", o.Adjust)
	case o.framing(1).most < 1:
		refuse("adjust", fmt.Sprintf("one with which a length of at most %d can announce a payload", most), "%d", o.Adjust)
	}
	for _, v := range o.Control {
		if v > most {
			refuse("control", fmt.Sprintf("values of a length, 0 to %d", most), "%d", v)
		}
	}
}

// checkHeader checks the options for a header that is part of the payload.
func (o *Options) checkHeader(refuse refuser) {
	switch {
	case o.Offset < 0 || o.Offset > maxOffset:
		refuse("offset", fmt.Sprintf("0 to %d", maxOffset), "%d", o.Offset)
	case o.Offset != 0 && !o.KeepHeader:
		refuse("offset", "0 without keep_header, since what lies in front of the length would be lost", "%d", o.Offset)
	case o.KeepHeader && o.Offset < len(o.Before):
		refuse("offset", fmt.Sprintf("0, or at least the %d bytes of before", len(o.Before)), "%d", o.Offset)
	}
	switch {
	case len(o.Control) > maxControl:
		refuse("control", fmt.Sprintf("at most %d values", maxControl), "%d values", len(o.Control))
	case len(o.Control) > 0 && !o.KeepHeader:
		refuse("control", "none without keep_header, since a bare header would be lost", "%v", o.Control)
	}
	for i, v := range o.Control {
		if slices.Contains(o.Control[:i], v) {
			refuse("control", "each value once", "%d twice", v)
		}
	}
}

// framing returns the framing for o.
func (o *Options) framing(maxFrame int) *framing {
	f := &framing{
		maxFrame: maxFrame, before: string(o.Before), offset: len(o.Before), width: o.Width,
		number: number{format: *o.Format, width: o.Width, pad: '0'},
		after:  string(o.After + o.Separator), trailer: string(o.Trailer),
		adjust: o.Adjust, countsAll: o.Counts == CountsFrame, keepHeader: o.KeepHeader, control: o.Control, empty: o.Empty,
	}
	if o.Pad == PadSpace {
		f.number.pad = ' '
	}
	if o.KeepHeader {
		f.offset = o.Offset
	}
	f.around = f.offset + len(f.after) + len(f.trailer)

	// The shortest and the longest payload that can be announced.
	least, most := -f.adjust, int64(min(f.number.most(), maxAnnounced))-f.adjust
	if f.countsAll {
		least -= int64(f.around + max(o.Width, 1))
		most -= int64(f.around + o.Width)
		if o.Width == 0 {
			most -= maxDigits
		}
	}
	f.least, f.most = max(least, 0), most
	o.wants(f)
	return f
}

// wants sets the Wants of faults.
func (o *Options) wants(f *framing) {
	switch *o.Format {
	case BE, LE:
		f.wantLength = fmt.Sprintf("a length of %d bytes", o.Width)
	case ASCIIDec:
		f.wantLength = fmt.Sprintf("%d decimal digits", o.Width)
	case ASCIIHex:
		f.wantLength = fmt.Sprintf("%d hex digits", o.Width)
	case BCD:
		f.wantLength = fmt.Sprintf("%d packed decimal digits", 2*o.Width)
	}
	if o.Pad == PadSpace {
		f.wantLength += ", leading ones blank"
	}
	if o.Width == 0 {
		f.wantLength = fmt.Sprintf("a count of at most %d digits, then %v", maxDigits, o.Separator)
	}
	f.wantHeader = f.wantLength
	if f.offset > 0 {
		f.wantHeader = fmt.Sprintf("%d bytes, then %s", f.offset, f.wantLength)
	}
	f.wantBefore = fmt.Sprintf("%v at the frame's start", o.Before)
	f.wantAfter = fmt.Sprintf("%v after the length", o.After)
	f.wantTrailer = fmt.Sprintf("%v after the payload", o.Trailer)
	shortest := f.adjust
	if f.countsAll {
		shortest += int64(f.around + max(o.Width, 1))
	}
	f.wantLeast = fmt.Sprintf("an announced length of at least %d", max(shortest, 0))
}

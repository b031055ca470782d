package escape

import "github.com/framehost/framehost/codecs"

// Options of the escape codec. The zero value is not valid; [Codec] has the defaults.
type Options struct {
	Terminator        codecs.Bytes   `json:"terminator" jsonschema_description:"ends each frame; 1 to 64 bytes"`
	AlsoAccept        []codecs.Bytes `json:"also_accept,omitempty" jsonschema_description:"other terminators, which are accepted when decoding; at most 16 of 1 to 64 bytes, none a prefix of another"`
	Start             codecs.Bytes   `json:"start" jsonschema_description:"stands before each payload; 0 to 64 bytes"`
	LeadingTerminator bool           `json:"leading_terminator" jsonschema_description:"send the terminator before each frame as well, as SLIP senders do; needs empty: skip, and no start"`

	Style  Style          `json:"style" jsonschema:"enum=map,enum=xor,enum=double,enum=line_dot,enum=none" jsonschema_description:"how payloads are kept free of terminators: map (the escape and what the map has for the byte), xor (the escape and the byte with bits inverted), double (the escape twice), line_dot (as in mail), none (not at all: other payloads are refused)"`
	Escape *codecs.Bytes  `json:"escape,omitempty" jsonschema_description:"styles map, xor and double: takes the next byte with it; 1 byte, a backslash unless given"`
	Map    codecs.ByteMap `json:"map,omitempty" jsonschema_description:"style map: what stands after the escape for each byte that can't stand for itself; one to one, with the escape and every byte of every accepted terminator; {LF: n, escape: escape} unless given, where LF is the only terminator"`
	Xor    *codecs.Bytes  `json:"xor,omitempty" jsonschema_description:"style xor: the bits that are inverted in an escaped byte; 1 byte, 0x20 unless given"`
	Also   []Range        `json:"also,omitempty" jsonschema_description:"style xor: more bytes to escape; single bytes, and ranges such as 00-1F"`
	Ignore []Range        `json:"ignore,omitempty" jsonschema_description:"bytes that are dropped when they arrive unescaped; single bytes, and ranges such as 00-1F"`
	Abort  bool           `json:"abort" jsonschema_description:"style xor: the escape and then a terminator discard the frame"`

	Unterminated Unterminated `json:"unterminated" jsonschema:"enum=violation,enum=deliver" jsonschema_description:"what the end of the stream, or of a datagram, inside a frame means"`
	Empty        codecs.Empty `json:"empty" jsonschema_description:"what becomes of empty payloads, in both directions"`
}

// Style is a way of byte stuffing.
type Style string

// The styles.
const (
	styleMap     Style = "map"
	styleXor     Style = "xor"
	styleDouble  Style = "double"
	styleLineDot Style = "line_dot"
	styleNone    Style = "none"
)

// Unterminated says what the end of the stream or of a datagram inside a frame means.
type Unterminated string

// Such an end is a fault, or it ends the frame.
const (
	unterminatedViolation Unterminated = "violation"
	unterminatedDeliver   Unterminated = "deliver"
)

var defaults = Options{
	Terminator: "\n", Style: styleMap, Unterminated: unterminatedViolation, Empty: codecs.EmptyDeliver,
}

// Defaults of options that exist only in some styles.
const (
	defaultEscape codecs.Bytes = `\`
	defaultXor    codecs.Bytes = "\x20"
)

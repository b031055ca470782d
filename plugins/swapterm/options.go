package swapterm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
)

// longest is the greatest length in bytes of a terminator, a marker and a suffix.
const longest = 64

// Options of the swapterm codec. The zero value is not valid; [Codec] has the defaults.
type Options struct {
	Terminator codecs.Bytes `json:"terminator" jsonschema_description:"ends a frame that declares no other; 1 to 64 bytes"`
	Declare    Declare      `json:"declare" jsonschema:"enum=when_needed,enum=always" jsonschema_description:"declare a terminator when_needed, for payloads that would be ambiguous without, or always; then a frame without a declaration is a violation"`
	Marker     codecs.Bytes `json:"marker" jsonschema_description:"introduces a declaration; 1 to 64 bytes; neither it nor the terminator is a prefix of the other"`
	Suffix     codecs.Bytes `json:"suffix" jsonschema_description:"follows the declared terminator; 0 to 64 bytes"`
	Length     int          `json:"length" jsonschema:"minimum=1,maximum=64" jsonschema_description:"bytes of a declared terminator"`
	Pool       Pool         `json:"pool" jsonschema_description:"what the encoder makes a declared terminator of: any byte, printable ones (0x21 to 0x7E), or a list of bytes and ranges such as 30-39"`
	Choose     Choose       `json:"choose" jsonschema:"enum=absent,enum=random" jsonschema_description:"how the encoder chooses among the terminators that the payload allows: the first one that it finds, or an unpredictable one"`
	Scope      Scope        `json:"scope" jsonschema:"enum=frame,enum=stream" jsonschema_description:"a declared terminator ends its own frame only, or stays in force in the stream until the next declaration"`
	Empty      codecs.Empty `json:"empty" jsonschema_description:"an empty payload is carried, or dropped and counted, or a fault"`
}

// Declare says which frames declare their terminator.
type Declare string

// The ways to declare.
const (
	DeclareWhenNeeded Declare = "when_needed"
	DeclareAlways     Declare = "always"
)

// Choose says how a terminator is chosen.
type Choose string

// The ways to choose.
const (
	ChooseAbsent Choose = "absent"
	ChooseRandom Choose = "random"
)

// Scope is how long a declared terminator stays in force.
type Scope string

// The scopes.
const (
	ScopeFrame  Scope = "frame"
	ScopeStream Scope = "stream"
)

var defaults = Options{
	Terminator: "\n", Declare: DeclareWhenNeeded, Marker: "\x1b", Length: 1,
	Pool: Pool{name: poolAny}, Choose: ChooseAbsent, Scope: ScopeFrame, Empty: codecs.EmptyDeliver,
}

// check checks o against every rule. Its error has an OptionError for each rule that is broken.
func (o *Options) check() error {
	var errs []error
	refuse := func(option, got, want string) {
		errs = append(errs, &codecs.OptionError{Option: option, Got: got, Want: want})
	}
	size := func(option string, value codecs.Bytes, least int) {
		if len(value) < least || len(value) > longest {
			refuse(option, fmt.Sprintf("%d bytes", len(value)), fmt.Sprintf("%d to %d bytes", least, longest))
		}
	}
	size("terminator", o.Terminator, 1)
	size("marker", o.Marker, 1)
	size("suffix", o.Suffix, 0)
	if o.Length < 1 || o.Length > longest {
		refuse("length", fmt.Sprint(o.Length), fmt.Sprintf("1 to %d", longest))
	}
	errs = append(errs,
		codecs.OneOf("declare", o.Declare, DeclareWhenNeeded, DeclareAlways),
		codecs.OneOf("choose", o.Choose, ChooseAbsent, ChooseRandom),
		codecs.OneOf("scope", o.Scope, ScopeFrame, ScopeStream),
		o.Empty.Check("empty"))
	if o.Declare == DeclareWhenNeeded && o.Marker != "" && o.Terminator != "" &&
		alike([]byte(o.Marker), []byte(o.Terminator)) {
		refuse("marker", o.Marker.String(), fmt.Sprintf("neither it nor the terminator, %s, a prefix of the other", o.Terminator))
	}
	return errors.Join(errs...)
}

// alike reports whether one of a and b is a prefix of the other.
func alike(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

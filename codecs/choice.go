package codecs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Empty is what becomes of empty payloads, in both directions. It is the type of the option "empty", for framings that
// can leave the choice to the operator.
type Empty string

// The fates of an empty payload.
const (
	EmptyDeliver Empty = "deliver" // it is carried, like any other
	EmptySkip    Empty = "skip"    // it is taken, and nothing is written or delivered for it; see Payloads.Skip, Frames.Skip
	EmptyRefuse  Empty = "refuse"  // it is a fault
)

// Check returns nil or an *OptionError.
func (e Empty) Check(option string) error {
	return OneOf(option, e, EmptyDeliver, EmptySkip, EmptyRefuse)
}

// JSONSchema lists the choices.
func (Empty) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: []any{EmptyDeliver, EmptySkip, EmptyRefuse}}
}

// OneOf checks an option that is a choice: it returns nil if got is one of choices, which are at least two, else an
// *OptionError that lists them.
func OneOf[T ~string](option string, got T, choices ...T) error {
	if slices.Contains(choices, got) {
		return nil
	}
	names := make([]string, len(choices))
	for i, c := range choices {
		names[i] = string(c)
	}
	last := len(names) - 1
	return &OptionError{Option: option, Got: fmt.Sprintf("%q", got), Want: strings.Join(names[:last], ", ") + " or " + names[last]}
}

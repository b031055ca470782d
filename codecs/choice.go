package codecs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Empty is the treatment of empty payloads, in both directions. It is the type of the option "empty", for framings that
// can leave the choice to the operator.
type Empty string

// The treatments of an empty payload.
const (
	EmptyDeliver Empty = "deliver" // carry it, like any other payload
	EmptySkip    Empty = "skip"    // write or deliver nothing for it; see Payloads.Skip, Frames.Skip
	EmptyRefuse  Empty = "refuse"  // report a fault
)

// Check returns nil if e is one of the three treatments, else an *OptionError for option.
func (e Empty) Check(option string) error {
	return OneOf(option, e, EmptyDeliver, EmptySkip, EmptyRefuse)
}

// JSONSchema returns the schema of a string that is one of the three treatments.
func (Empty) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: []any{EmptyDeliver, EmptySkip, EmptyRefuse}}
}

// OneOf checks an option that is a choice. It returns nil if got is one of choices, else an *OptionError that lists
// them. There must be at least two choices.
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

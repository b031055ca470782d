package escape

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/framehost/framehost/codecs"
)

// A Range is the bytes from First to Last, both included. It is written as two hex digits for each, such as "00-1F". A range
// of a single byte is written as a bytes value.
type Range struct{ First, Last byte }

const rangeWant = "one byte, such as DLE or 0x7F, or a range such as 00-1F"

// String returns r in its written form.
func (r Range) String() string {
	if r.First == r.Last {
		return one(r.First)
	}
	return fmt.Sprintf("%02X-%02X", r.First, r.Last)
}

// MarshalText writes r as String does.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a range or a single byte.
func (r *Range) UnmarshalText(text []byte) error {
	if first, last, ok := strings.Cut(string(text), "-"); ok && len(first) == 2 && len(last) == 2 {
		f, errF := hex.DecodeString(first)
		l, errL := hex.DecodeString(last)
		if errF != nil || errL != nil || f[0] > l[0] {
			return &codecs.OptionError{Got: fmt.Sprintf("%q", text), Want: rangeWant}
		}
		*r = Range{f[0], l[0]}
		return nil
	}
	b, err := codecs.ParseBytes(string(text))
	if err != nil {
		return err
	}
	if len(b) != 1 {
		return &codecs.OptionError{Got: fmt.Sprintf("%q", text), Want: rangeWant}
	}
	*r = Range{b[0], b[0]}
	return nil
}

// UnmarshalJSON reads a JSON string as UnmarshalText does.
func (r *Range) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return &codecs.OptionError{Got: string(raw), Want: rangeWant}
	}
	return r.UnmarshalText([]byte(text))
}

// JSONSchema returns the schema of a string in the format of bytes values, because texts of r are read like those.
func (Range) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Format: codecs.BytesFormat}
}

func members(ranges []Range) *set {
	return newSet(func(c byte) bool {
		for _, r := range ranges {
			if r.First <= c && c <= r.Last {
				return true
			}
		}
		return false
	})
}

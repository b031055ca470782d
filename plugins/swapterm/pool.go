package swapterm

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/framehost/framehost/codecs"
)

// Names of pools.
const (
	poolAny       = "any"
	poolPrintable = "printable"
)

const poolWant = "any, printable, or a list of bytes and ranges such as 30-39"

// A Pool is the set of bytes from which an encoder makes terminators: "any", "printable", or a list. Each item of a list is
// a bytes value, each of whose bytes is in the pool, or a range of bytes, written as two hex digits each, such as 30-39.
// The zero value is an empty list.
type Pool struct {
	name  string   // poolAny or poolPrintable; empty: a list
	items []string // the list, as it was written
	list  []byte   // the bytes of the list, each once
}

// UnmarshalJSON reads a pool.
func (p *Pool) UnmarshalJSON(raw []byte) error {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if name != poolAny && name != poolPrintable {
			return &codecs.OptionError{Got: fmt.Sprintf("%q", name), Want: poolWant}
		}
		*p = Pool{name: name}
		return nil
	}
	var items []string
	if json.Unmarshal(raw, &items) != nil {
		return &codecs.OptionError{Got: string(raw), Want: poolWant}
	}
	read := Pool{items: items}
	for _, item := range items {
		members, err := parseMembers(item)
		if err != nil {
			return err
		}
		for _, b := range members {
			if !slices.Contains(read.list, b) {
				read.list = append(read.list, b)
			}
		}
	}
	if len(read.list) == 0 {
		return &codecs.OptionError{Got: string(raw), Want: "at least one byte"}
	}
	*p = read
	return nil
}

func parseMembers(item string) ([]byte, error) {
	first, last, ok := strings.Cut(item, "-")
	if !ok || len(first) != 2 || len(last) != 2 {
		b, err := codecs.ParseBytes(item)
		return []byte(b), err
	}
	f, errF := hex.DecodeString(first)
	l, errL := hex.DecodeString(last)
	if errF != nil || errL != nil || f[0] > l[0] {
		return nil, &codecs.OptionError{
			Got: fmt.Sprintf("%q", item), Want: "a range of two bytes in hex, the lower first, such as 30-39",
		}
	}
	return span(f[0], l[0]), nil
}

// MarshalJSON writes p in the form in which it was read.
func (p Pool) MarshalJSON() ([]byte, error) {
	if p.name != "" {
		return json.Marshal(p.name)
	}
	return json.Marshal(p.items)
}

// JSONSchema returns the schema of a pool's name or a list. The items have the format of bytes values, because their texts
// are read like those.
func (Pool) JSONSchema() *jsonschema.Schema {
	least := uint64(1)
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Enum: []any{poolAny, poolPrintable}},
		{Type: "array", MinItems: &least, Items: &jsonschema.Schema{Type: "string", Format: codecs.BytesFormat}},
	}}
}

// members returns the bytes of the pool, each once, in the order in which the encoder prefers them: a list in its written
// order; otherwise the bar, other signs, letters and digits, and last the unprintable bytes.
func (p *Pool) members() []byte {
	switch p.name {
	case poolPrintable:
		return preferred(span(0x21, 0x7e))
	case poolAny:
		return preferred(span(0x00, 0xff))
	default:
		return p.list
	}
}

// span returns the bytes from first to last.
func span(first, last byte) []byte {
	var list []byte
	for b := int(first); b <= int(last); b++ {
		list = append(list, byte(b))
	}
	return list
}

func preferred(list []byte) []byte {
	rank := func(b byte) int {
		switch {
		case b == '|':
			return 0
		case b <= ' ' || b >= 0x7f:
			return 3
		case b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z':
			return 2
		default:
			return 1
		}
	}
	slices.SortStableFunc(list, func(a, b byte) int { return rank(a) - rank(b) })
	return list
}

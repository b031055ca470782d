package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// An option is an option of a plugin, with the simple parts of its JSON Schema.
type option struct {
	name        string
	what        string // its type, or its choices
	fallback    string // its default; "": none
	description string
}

// optionSchema is the part of JSON Schema that the options of our plugins use. The page leaves out everything else that a plugin's
// schema says; the schema itself has it.
type optionSchema struct {
	Properties           json.RawMessage `json:"properties"`
	Type                 any             `json:"type"`
	Format               string          `json:"format"`
	Enum                 []any           `json:"enum"`
	Minimum              *json.Number    `json:"minimum"`
	Maximum              *json.Number    `json:"maximum"`
	Items                *optionSchema   `json:"items"`
	PropertyNames        *optionSchema   `json:"propertyNames"`
	AdditionalProperties json.RawMessage `json:"additionalProperties"`
	OneOf                []optionSchema  `json:"oneOf"`
	AnyOf                []optionSchema  `json:"anyOf"`
	Default              json.RawMessage `json:"default"`
	Description          string          `json:"description"`
}

// UnmarshalJSON reads a schema, which may also be true or false.
func (s *optionSchema) UnmarshalJSON(raw []byte) error {
	type plain optionSchema
	if json.Unmarshal(raw, new(bool)) == nil {
		*s = optionSchema{}
		return nil
	}
	return json.Unmarshal(raw, (*plain)(s))
}

// readOptions returns the properties of schema, in its order.
func readOptions(schema json.RawMessage) ([]option, error) {
	var root optionSchema
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, err
	}
	if len(root.Properties) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(root.Properties)) // a map would lose the order
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("properties is not an object")
	}
	var options []option
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var s optionSchema
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("option %s: %w", name, err)
		}
		options = append(options, option{name.(string), s.what(), s.fallback(), s.Description})
	}
	return options, nil
}

// String returns the option as a paragraph.
func (o option) String() string {
	head := "  " + o.name
	if o.what != "" {
		head += "  " + o.what
	}
	if o.fallback != "" {
		head += ", default " + o.fallback
	}
	if o.description == "" {
		return head
	}
	return head + "\n" + wrapped(o.description, "      ", 100)
}

// what describes the allowed values.
func (s *optionSchema) what() string {
	if choices := slices.Concat(s.OneOf, s.AnyOf); len(choices) > 0 {
		return joined(choices, func(c optionSchema) string { return c.what() })
	}
	if len(s.Enum) > 0 {
		return joined(s.Enum, func(v any) string { return fmt.Sprint(v) })
	}
	if types, ok := s.Type.([]any); ok {
		return joined(types, func(t any) string {
			one := *s
			one.Type = t
			return one.what()
		})
	}
	switch s.Type {
	case "string":
		if s.Format == codecs.BytesFormat {
			return "bytes"
		}
		return "text"
	case "array":
		if s.Items != nil {
			return "list of " + s.Items.what()
		}
		return "list"
	case "object":
		return s.mapping()
	case "integer", "number":
		return s.number()
	case "boolean":
		return "true | false"
	case nil:
		return ""
	default:
		return fmt.Sprint(s.Type)
	}
}

func (s *optionSchema) mapping() string {
	var values optionSchema
	if s.PropertyNames == nil || json.Unmarshal(s.AdditionalProperties, &values) != nil {
		return "mapping"
	}
	return fmt.Sprintf("mapping of %s to %s", s.PropertyNames.what(), values.what())
}

func (s *optionSchema) number() string {
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("%s to %s", s.Minimum, s.Maximum)
	case s.Minimum != nil:
		return fmt.Sprintf("%s or more", s.Minimum)
	case s.Maximum != nil:
		return fmt.Sprintf("up to %s", s.Maximum)
	default:
		return "number"
	}
}

// fallback returns the default in YAML.
func (s *optionSchema) fallback() string {
	var text string
	switch {
	case len(s.Default) == 0:
		return ""
	case json.Unmarshal(s.Default, &text) == nil && text != "":
		return text
	default:
		return string(s.Default)
	}
}

func joined[T any](all []T, text func(T) string) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = text(one)
	}
	return strings.Join(texts, " | ")
}

// wrapped returns text in lines of at most width characters, each with indent before it.
func wrapped(text, indent string, width int) string {
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

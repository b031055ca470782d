package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/framehost/framehost/codecs"
)

// OptionsJSON returns the options, those of the profile included, as a JSON object for the plugin whose JSON Schema is raw. If the schema
// asks for a string, the value is the source text (0x0B, 0012, yes); for other types, it is the number, boolean and so on that the text
// stands for. If the schema does not allow the options, the error is of type [Errors] and has all mistakes with their positions. An
// error of another type means that the schema itself is wrong; see [CheckSchema].
func (c *Codec) OptionsJSON(raw json.RawMessage) (json.RawMessage, error) {
	schema, err := readSchema(raw)
	if err != nil {
		return nil, fmt.Errorf("schema of plugin %s: %w", c.Plugin, err)
	}
	root := c.Options.merged()
	o := optionReader{options: &c.Options, schema: schema.doc}
	value := o.value(root, schema.doc, c.Options.key)
	if len(o.errs) == 0 {
		var invalid *jsonschema.ValidationError
		if err := schema.validate(value); errors.As(err, &invalid) {
			o.invalid(root, invalid)
		} else if err != nil {
			return nil, fmt.Errorf("schema of plugin %s: %w", c.Plugin, err)
		}
	}
	if len(o.errs) > 0 {
		o.errs.sort()
		return nil, o.errs
	}
	out, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("options of codec %s: %w", c.Name, err)
	}
	return out, nil
}

type optionReader struct {
	options *Options
	schema  any // the whole schema, for references
	looked  int // keywords that choices has visited for one value
	errs    Errors
	// warned, unless nil, collects warnings of values that are allowed but probably not meant.
	warned *[]Warning
}

// OptionWarnings returns warnings of option values that are allowed but probably not meant. Call it after OptionsJSON has
// accepted the options.
func (c *Codec) OptionWarnings(raw json.RawMessage) (warnings []Warning) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil || c.Options.own == nil {
		return nil
	}
	o := optionReader{options: &c.Options, schema: doc, warned: &warnings}
	o.value(c.Options.own, doc, c.Options.key)
	return warnings
}

func (o *optionReader) addError(n *node, key, got, want string) {
	o.errs = append(o.errs, o.options.place(n, key).Error(got, want))
}

// value returns the JSON value of n under schema, or adds an error.
func (o *optionReader) value(n *node, schema any, key string) any {
	o.looked = 0
	choices := o.choices(schema, 0)
	object, array := ofType(choices, "object"), ofType(choices, "array")
	if n.syntax == syntaxArgument && ((object != nil && strings.HasPrefix(n.text, "{")) ||
		(array != nil && strings.HasPrefix(n.text, "["))) {
		inner := &source{file: n.file, data: []byte(n.text)}
		parsed := inner.readYAML()
		if len(inner.errs) > 0 {
			o.addError(n, key, inner.errs[0].Got, inner.errs[0].Want)
			return nil
		}
		n = unplaced(parsed)
	}
	switch {
	case n.kind == mapping && object != nil:
		return o.object(n, object, key)
	case n.kind == list && array != nil:
		out := []any{}
		for i, item := range n.items {
			out = append(out, o.value(item, array["items"], itemKey(key, i)))
		}
		return out
	case n.kind == scalar && !n.quoted && n.text == "" && n.syntax != syntaxArgument:
		o.addError(n, key, "nothing", wantOf(choices))
		return nil
	case n.kind == scalar && len(choices) == 1 && choices[0]["type"] == nil:
		return resolved(n)
	case n.isText() && ofType(choices, "string") != nil:
		s := ofType(choices, "string")
		if s["format"] == codecs.BytesFormat {
			o.bytes(n, n.text, key)
		}
		return n.text
	case n.isNull() && ofType(choices, "null") != nil:
		return nil
	case n.isBare() && (n.text == "true" || n.text == "false") && ofType(choices, "boolean") != nil:
		return n.text == "true"
	case n.isBare() && (ofType(choices, "integer") != nil || ofType(choices, "number") != nil):
		if number, ok := number(n.text); ok {
			return number
		}
	}
	want := wantOf(choices)
	if n.kind == scalar && !n.isText() && ofType(choices, "string") != nil {
		want += ", in quotes"
	}
	o.addError(n, key, n.got(), want)
	return nil
}

func (o *optionReader) object(n *node, schema map[string]any, key string) any {
	properties, _ := schema["properties"].(map[string]any)
	names, _ := schema["propertyNames"].(map[string]any)
	out := map[string]any{}
	for _, e := range n.entries {
		path := childKey(key, e.key)
		property, known := properties[e.key]
		if !known {
			property = schema["additionalProperties"]
			if property == nil {
				property = true
			}
		}
		if property == false {
			at := o.options.place(e.value, path)
			if at.Line > 0 && e.value.file != profilesFile {
				at = e.at(path)
			}
			if got, want, ok := withoutBlank(e.key, slices.Collect(maps.Keys(properties))); ok && e.value.isNull() {
				o.errs = append(o.errs, at.Error(strings.Replace(got, "the text", "a key called", 1), want))
				continue
			}
			o.errs = append(o.errs, at.Error("an unknown option", oneOf(e.key, slices.Sorted(maps.Keys(properties)))))
			continue
		}
		if names["format"] == codecs.BytesFormat {
			o.bytes(e.value, e.key, path)
		}
		out[e.key] = o.value(e.value, property, path)
	}
	return out
}

// bytes checks text, a bytes value. It adds an error if text is wrong, or a warning if it was probably not meant.
func (o *optionReader) bytes(n *node, text, key string) {
	var e *codecs.OptionError
	if _, err := codecs.ParseBytes(text); errors.As(err, &e) {
		o.addError(n, key, e.Got, e.Want)
		return
	}
	if other, ok := bytesWarning(text); ok && o.warned != nil {
		*o.warned = append(*o.warned, Warning{o.options.place(n, key), other})
	}
}

// choices splits schema into alternatives with at most one type each: a value may satisfy any one of them. If there are too many or they
// nest too deeply, choices returns schemas that allow everything.
func (o *optionReader) choices(schema any, depth int) []map[string]any {
	s, ok := schema.(map[string]any)
	o.looked += 1 + len(s)
	if !ok || depth > 20 || o.looked > maxChoices {
		return []map[string]any{{}}
	}
	if ref, ok := s["$ref"].(string); ok {
		return o.choices(o.resolve(ref), depth+1)
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if branches, ok := s[key].([]any); ok {
			var out []map[string]any
			for _, branch := range branches {
				out = append(out, o.choices(branch, depth+1)...)
			}
			return out
		}
	}
	if types, ok := s["type"].([]any); ok {
		var out []map[string]any
		for _, t := range types {
			if o.looked += len(s); o.looked > maxChoices {
				break
			}
			single := maps.Clone(s)
			single["type"] = t
			out = append(out, single)
		}
		return out
	}
	if values, ok := s["enum"].([]any); ok && s["type"] == nil && len(values) > 0 {
		if _, text := values[0].(string); text {
			s = maps.Clone(s)
			s["type"] = "string"
		}
	}
	return []map[string]any{s}
}

// resolve returns the part of the schema that ref refers to, or nil.
func (o *optionReader) resolve(ref string) any {
	at := o.schema
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	for _, part := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if part == "" {
			continue
		}
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return at
}

// ofType returns the first of choices that names the type or, if none does, the first without a type, which allows every type; or nil.
func ofType(choices []map[string]any, name string) map[string]any {
	for _, c := range choices {
		if c["type"] == name {
			return c
		}
	}
	for _, c := range choices {
		if c["type"] == nil {
			return c
		}
	}
	return nil
}

// wantOf describes for an error which values choices allow.
func wantOf(choices []map[string]any) string {
	var wants []string
	for _, c := range choices {
		var want string
		switch c["type"] {
		case "string":
			want = "a text"
			if c["format"] == codecs.BytesFormat {
				want = "a bytes value: a name such as LF, hex such as 0x0A, or text"
			}
			if values, ok := c["enum"].([]any); ok {
				want = "one of " + strings.Trim(fmt.Sprint(values), "[]")
			}
		case "integer":
			want = "a whole number"
		case "number":
			want = "a number"
		case "boolean":
			want = "true or false"
		case "array":
			want = "a list"
		case "object":
			want = "a mapping"
		case "null":
			continue
		default:
			want = "a value"
		}
		if !slices.Contains(wants, want) {
			wants = append(wants, want)
		}
	}
	return strings.Join(wants, ", or ")
}

// resolved returns the value of a scalar under a schema that names no type.
func resolved(n *node) any {
	switch number, ok := number(n.text); {
	case n.quoted:
		return n.text
	case ok:
		return number
	case n.text == "true" || n.text == "false":
		return n.text == "true"
	case n.isNull():
		return nil
	default:
		return n.text
	}
}

var numberText = regexp.MustCompile(`^[-+]?(0x[0-9A-Fa-f]+|(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)$`)

// number converts text to a number, and reports whether it is one. A text with a leading zero is not: YAML 1.1 would read it as octal.
func number(text string) (json.Number, bool) {
	if !numberText.MatchString(text) {
		return "", false
	}
	if strings.Contains(text, "0x") {
		n, ok := new(big.Int).SetString(text, 0)
		if !ok {
			return "", false
		}
		return json.Number(n.String()), true
	}
	return json.Number(strings.TrimPrefix(text, "+")), true
}

// unplaced returns a copy of n without lines and columns, which have no meaning in an argument.
func unplaced(n *node) *node {
	out := *n
	out.line, out.column = 0, 0
	out.items, out.entries = nil, nil
	for _, item := range n.items {
		out.items = append(out.items, unplaced(item))
	}
	for _, e := range n.entries {
		out.entries = append(out.entries, entry{key: e.key, value: unplaced(e.value)})
	}
	return &out
}

// invalid adds an error for each cause in e, at the position of the value.
func (o *optionReader) invalid(root *node, e *jsonschema.ValidationError) {
	switch e.ErrorKind.(type) {
	case *kind.OneOf, *kind.AnyOf, *kind.Not:
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				o.invalid(root, cause)
			}
			return
		}
	}
	n, key := root, o.options.key
	for _, part := range e.InstanceLocation {
		var next *node
		if n.kind == list {
			key += "[" + part + "]"
			next = find(n, "["+part+"]")
		} else {
			key = childKey(key, part)
			next = n.get(part)
		}
		if next == nil {
			break
		}
		n = next
	}
	o.addError(n, key, n.got(), wanted(e.ErrorKind))
}

// wanted describes for an error which values satisfy the failed part of a schema.
func wanted(k jsonschema.ErrorKind) string {
	text := func(r *big.Rat) string { return strings.TrimSuffix(strings.TrimRight(r.FloatString(6), "0"), ".") }
	switch k := k.(type) {
	case *kind.Enum:
		var values []string
		for _, v := range k.Want {
			values = append(values, fmt.Sprint(v))
		}
		got, _ := k.Got.(string)
		return oneOf(got, values)
	case *kind.Const:
		return fmt.Sprint(k.Want)
	case *kind.Minimum:
		return text(k.Want) + " or more"
	case *kind.ExclusiveMinimum:
		return "more than " + text(k.Want)
	case *kind.Maximum:
		return "at most " + text(k.Want)
	case *kind.ExclusiveMaximum:
		return "less than " + text(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("at most %d items", k.Want)
	case *kind.Pattern:
		return "a text that matches " + k.Want
	case *kind.UniqueItems:
		return "each item once"
	case *kind.Required:
		return "the option " + strings.Join(k.Missing, ", ") + " as well"
	case *kind.Type:
		return "a value of type " + strings.Join(k.Want, " or ")
	default:
		return strings.TrimSuffix("what the plugin's schema allows: "+strings.Join(k.KeywordPath(), "."), ": ")
	}
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	regexpsyntax "regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits on a plugin's JSON Schema. The host does not trust the plugin, so checking against the schema must not cost the host much time.
const (
	maxSchemaBytes  = 256 << 10
	maxSchemaDepth  = 64
	maxSchemaValues = 10_000
	maxPattern      = 10_000    // instructions of a regular expression
	maxSchemaWork   = 1_000_000 // keywords visited to validate one value: references can multiply them
	maxChoices      = 10_000    // keywords visited to find the types that an option may have
)

const schemaURL = "framehost:///options"

// A schema is the JSON Schema of a plugin's options. It may refer only to itself and to the meta-schemas of JSON Schema, which are
// compiled into this program: compiling a schema reads no file and fetches nothing.
type schema struct {
	doc      any // as jsonschema.UnmarshalJSON returns it
	compiled *jsonschema.Schema
	meter    *meter
}

// CheckSchema returns an error if the JSON Schema of a plugin's options is invalid or exceeds a limit.
func CheckSchema(raw json.RawMessage) error {
	_, err := readSchema(raw)
	return err
}

func readSchema(raw json.RawMessage) (_ *schema, err error) {
	defer recovered(&err)
	if len(raw) > maxSchemaBytes {
		return nil, fmt.Errorf("got %d bytes, want at most %d", len(raw), maxSchemaBytes)
	}
	if err := checkDepth(raw); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	s := &schema{doc: doc, meter: &meter{}}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(compilePattern)
	compiler.RegisterVocabulary(&jsonschema.Vocabulary{URL: "framehost:meter", Compile: s.meter.compile})
	compiler.AssertVocabs()
	if err := compiler.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	if s.compiled, err = compiler.Compile(schemaURL); err != nil {
		if elsewhere := (*jsonschema.LoadURLError)(nil); errors.As(err, &elsewhere) {
			return nil, fmt.Errorf("got a reference to %q, want references to parts of the schema itself", elsewhere.URL)
		}
		return nil, err
	}
	return s, nil
}

// checkDepth returns an error if raw nests too deeply or has too many values. The parser and other functions recurse into the schema.
func checkDepth(raw json.RawMessage) error {
	depth, values := 0, 0
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a number beyond float64 would end the loop with an error
	for {
		token, err := d.Token()
		if err != nil {
			return nil //nolint:nilerr // the end, or invalid JSON, which the parser reports
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		values++
		if depth > maxSchemaDepth {
			return fmt.Errorf("got more than %d levels, want fewer", maxSchemaDepth)
		}
		if values > maxSchemaValues {
			return fmt.Errorf("got more than %d values, want fewer", maxSchemaValues)
		}
	}
}

// validate checks value against the schema. The error is a *jsonschema.ValidationError if value is wrong, and of another type if the
// schema is wrong.
func (s *schema) validate(value any) (err error) {
	defer recovered(&err)
	s.meter.left = maxSchemaWork
	return s.compiled.Validate(value)
}

// recovered sets err to what a panic says. The library panics at numbers with a large exponent, and the meter at too much work.
func recovered(err *error) {
	switch r := recover(); r {
	case nil:
	case errSchemaWork:
		*err = errSchemaWork
	default:
		*err = fmt.Errorf("got what can't be checked: %v", r)
	}
}

var errSchemaWork = errors.New("got references that multiply, want a schema that takes less work to validate with")

// noLoader refuses to load any document. The default loader of jsonschema would open files.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("outside the schema") }

// compilePattern compiles a regular expression of at most maxPattern instructions.
func compilePattern(text string) (jsonschema.Regexp, error) {
	parsed, err := regexpsyntax.Parse(text, regexpsyntax.Perl)
	if err != nil {
		return nil, err
	}
	if n := instructions(parsed); n > maxPattern {
		return nil, fmt.Errorf("got a pattern that takes more than %d instructions, want a simpler one", maxPattern)
	}
	return regexp.Compile(text)
}

// instructions returns approximately how many instructions r compiles to, at most maxPattern+1.
func instructions(r *regexpsyntax.Regexp) int {
	n := 1 + len(r.Rune)
	for _, sub := range r.Sub {
		n = min(n+instructions(sub), maxPattern+1)
	}
	if r.Op == regexpsyntax.OpRepeat {
		n *= max(r.Min, r.Max, 1)
	}
	return min(n, maxPattern+1)
}

// A meter counts the work of validation and ends validation with a panic when there is too much. It is an extension of every part of a
// schema. Nothing else limits the work: if forty definitions each refer twice to the next, the last is validated 2^39 times.
type meter struct{ left int }

type metered struct {
	*meter
	work int // keywords and the elements of their values
}

func (m *meter) compile(_ *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
	work := 1
	for _, value := range obj {
		work++
		switch value := value.(type) {
		case map[string]any:
			work += len(value)
		case []any:
			work += len(value)
		}
	}
	return metered{m, work}, nil
}

// Validate implements jsonschema.SchemaExt.
func (m metered) Validate(*jsonschema.ValidatorContext, any) {
	if m.left -= m.work; m.left < 0 {
		panic(errSchemaWork)
	}
}

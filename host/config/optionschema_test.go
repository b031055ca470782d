//go:build unix

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schemas with references to anything outside themselves, and schemas that exceed a limit, are refused.
func TestSchemaRefused(t *testing.T) {
	fifo := "file://" + newFIFO(t) // opening it would never return
	const outside = `, want references to parts of the schema itself`
	tests := []struct{ name, schema, want string }{
		{"a file", `{"$ref": "` + fifo + `"}`, `got a reference to "` + fifo + `"` + outside},
		{"a file, in a property", `{"properties": {"a": {"$ref": "` + fifo + `#/x"}}}`, `got a reference to "` + fifo + `"` + outside},
		{"a file, dynamically", `{"$dynamicRef": "` + fifo + `#a"}`, `got a reference to "` + fifo + `"` + outside},
		{"a file, recursively", `{"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveRef": "` + fifo + `"}`, ""},
		{"a file as its meta-schema", `{"$schema": "` + fifo + `"}`, `got a reference to "` + fifo + `"` + outside},
		{"a file as the meta-schema of a part", `{"$defs": {"a": {"$id": "x:y", "$schema": "` + fifo + `"}}}`,
			`got a reference to "` + fifo + `"` + outside},
		{"a file as its own name, and another beside it", `{"$id": "` + fifo + `", "$ref": "other.json"}`,
			`got a reference to "file://` + strings.TrimSuffix(strings.TrimPrefix(fifo, "file://"), "fifo") + `other.json"` + outside},
		{"the web", `{"$ref": "https://127.0.0.1:1/schema.json"}`, `got a reference to "https://127.0.0.1:1/schema.json"` + outside},
		{"a path", `{"$ref": "/etc/passwd"}`, outside},
		{"an older draft that refers to a file", `{"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"$ref": "` + fifo + `"}]}`,
			`got a reference to "` + fifo + `"` + outside},
		{"too long", `{"description": "` + strings.Repeat("x", maxSchemaBytes) + `"}`, "got 262163 bytes, want at most 262144"},
		{"too deep", strings.Repeat(`{"not": `, 65) + `true` + strings.Repeat(`}`, 65), "got more than 64 levels, want fewer"},
		{"too deep, after a number beyond float64", `{"const": 1e400, "allOf": [` + strings.Repeat(`{"not": `, 65) + `true` + strings.Repeat(`}`, 65) + `]}`,
			"got more than 64 levels, want fewer"},
		{"a number that the library can't hold", `{"properties": {"x": {"multipleOf": 1e1000001}}}`, "got what can't be checked"},
		{"too much", `{"enum": [` + strings.Repeat("1,", maxSchemaValues) + `1]}`, "got more than 10000 values, want fewer"},
		{"a costly pattern", `{"pattern": "((a{100}){100}){10}"}`, "pattern"},
		{"a pattern of many words", `{"pattern": "` + strings.Repeat("x", 20_000) + `"}`, "pattern"},
		{"a costly pattern of names", `{"patternProperties": {"(a{1,1000}){1,1000}": true}}`, "pattern"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result := make(chan error, 1)
			go func() { result <- CheckSchema(json.RawMessage(tt.schema)) }()
			select {
			case err := <-result:
				if err == nil && tt.want != "" || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q", err, tt.want)
				}
			case <-time.After(time.Minute):
				t.Fatal("the schema is read without end")
			}
		})
	}
}

// Validation ends even if references multiply its work.
func TestSchemaWork(t *testing.T) {
	var defs []string
	const n = 60
	for i := range n {
		defs = append(defs, fmt.Sprintf(`"d%d": {"allOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	defs = append(defs, fmt.Sprintf(`"d%d": {"type": "object"}`, n))
	s, err := readSchema(json.RawMessage(`{"$ref": "#/$defs/d0", "$defs": {` + strings.Join(defs, ", ") + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.validate(map[string]any{}); !errors.Is(err, errSchemaWork) {
		t.Errorf("got %v, want %v", err, errSchemaWork)
	}
}

// A value that the library can't hold is an error.
func TestValueThatCannotBeChecked(t *testing.T) {
	s, err := readSchema(json.RawMessage(`{"properties": {"x": {"type": "number", "minimum": 0}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.validate(map[string]any{"x": json.Number("1e1000001")}); err == nil {
		t.Error("got no error")
	}
}

// Finding the types that an option may have ends too.
func TestSchemaChoices(t *testing.T) {
	branches := strings.TrimSuffix(strings.Repeat(`{"$ref": "#"},`, 500), ",")
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"oneOf": [` + branches + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	o := optionReader{schema: doc}
	if got := len(o.choices(doc, 0)); got > maxChoices {
		t.Errorf("got %d choices, want at most %d", got, maxChoices)
	}
}

// The usual parts of schemas are accepted.
func TestSchemaTaken(t *testing.T) {
	for _, schema := range []string{
		`{"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}}}}`,
		`{"$id": "https://plugins.example/cobs.json", "$ref": "#/$defs/a", "$defs": {"a": {"$id": "part.json", "type": "object"}}}`,
		`{"$id": "https://plugins.example/cobs.json", "$ref": "part.json", "$defs": {"a": {"$id": "part.json", "type": "object"}}}`,
		`{"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"a": {"$dynamicAnchor": "x"}}, "$dynamicRef": "#x"}`,
		`{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"}`,
		`{"properties": {"name": {"pattern": "^[a-z][a-z0-9-]{0,62}$"}}}`,
	} {
		s, err := readSchema(json.RawMessage(schema))
		if err != nil {
			t.Errorf("%s: got %v", schema, err)
			continue
		}
		if err := s.validate(map[string]any{}); err != nil {
			t.Errorf("%s: got %v for an empty object", schema, err)
		}
	}
}

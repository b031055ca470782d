package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestReadOptions(t *testing.T) {
	tests := []struct{ name, schema, want string }{
		{"bytes", `{"type":"string","format":"framehost-bytes","default":"LF","description":"ends a frame"}`, "bytes, default LF\nends a frame"},
		{"an empty default", `{"type":"string","default":""}`, `text, default ""`},
		{"a choice", `{"type":"string","enum":["be","le"]}`, "be | le"},
		{"alternatives", `{"oneOf":[{"type":"integer"},{"enum":["any"]}]}`, "number | any"},
		{"a range", `{"type":"integer","minimum":1,"maximum":8,"default":4}`, "1 to 8, default 4"},
		{"half a range", `{"type":"number","minimum":0.5}`, "0.5 or more"},
		{"the other half", `{"type":"number","maximum":7}`, "up to 7"},
		{"a switch", `{"type":"boolean","default":false}`, "true | false, default false"},
		{"a list", `{"type":"array","items":{"type":"string"}}`, "list of text"},
		{"a list of anything", `{"type":"array"}`, "list"},
		{"a mapping", `{"type":"object","propertyNames":{"format":"framehost-bytes","type":"string"},"additionalProperties":{"type":"integer"}}`,
			"mapping of bytes to number"},
		{"an object", `{"type":"object","additionalProperties":false}`, "mapping"},
		{"types", `{"type":["string","null"]}`, "text | null"},
		{"a reference", `{"$ref":"#/$defs/x","description":"see there"}`, "\nsee there"},
		{"anything", `true`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options, err := readOptions(json.RawMessage(`{"properties":{"o":` + tt.schema + `}}`))
			if err != nil || len(options) != 1 {
				t.Fatalf("got %d options and %v, want one", len(options), err)
			}
			got := strings.TrimPrefix(strings.TrimPrefix(options[0].String(), "  o"), "  ")
			if got = strings.ReplaceAll(got, "\n      ", "\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, schema := range []string{`{}`, `{"properties":{}}`, `true`} {
		if options, err := readOptions(json.RawMessage(schema)); err != nil || len(options) > 0 {
			t.Errorf("%s: got %d options and %v, want none", schema, len(options), err)
		}
	}
	for _, schema := range []string{`1`, `{"properties":[]}`, `{"properties":{"a":1}}`} {
		if _, err := readOptions(json.RawMessage(schema)); err == nil {
			t.Errorf("%s: got no error, want one", schema)
		}
	}
}

func TestWrapped(t *testing.T) {
	if got, want := wrapped("one two  three overlong", "  ", 9), "  one two\n  three\n  overlong"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/framehost/framehost/codecs"
)

// testOptions have every type that options of codecs have.
type testOptions struct {
	Terminator codecs.Bytes   `json:"terminator" jsonschema_description:"bytes"`
	Also       []codecs.Bytes `json:"also_accept,omitempty"`
	Map        codecs.ByteMap `json:"map,omitempty"`
	Width      int            `json:"width" jsonschema:"minimum=1,maximum=8"`
	Abort      bool           `json:"abort"`
	Style      string         `json:"style" jsonschema:"enum=map,enum=xor"`
	Control    []int          `json:"control,omitempty" jsonschema:"maxItems=2"`
	Nested     struct {
		Deep codecs.Bytes `json:"deep"`
	} `json:"nested"`
	Pool any `json:"pool"`
}

var testCodec = codecs.New(codecs.Info{Name: "test"}, testOptions{Width: 1, Style: "map"},
	func(*testOptions, int) (codecs.Framing, error) { return codecs.FromFuncs(codecs.Funcs{}), nil })

// options parses a file whose first codec has these options, in the syntax of the format.
func optionsOf(t *testing.T, format, options string) *Codec {
	t.Helper()
	text := map[string]string{
		"yaml": "codecs:\n- name: c\n  plugin: escape\n  options: " + options + "\n",
		"json": `{"codecs": [{"name": "c", "plugin": "escape",` + "\n" + `"options": ` + options + "}]}",
		"toml": "[[codecs]]\nname = 'c'\nplugin = 'escape'\noptions = " + options + "\n",
	}[format]
	c, err := Parse("f."+format, format, []byte(text), LoadOptions{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &c.Codecs[0]
}

func TestOptionsJSON(t *testing.T) {
	tests := []struct{ name, format, options, want string }{
		{"none", "yaml", `{}`, `{}`},
		{"source text of bytes values", "yaml", `{terminator: 0x0B}`, `{"terminator":"0x0B"}`},
		{"leading zeros", "yaml", `{terminator: 0012}`, `{"terminator":"0012"}`},
		{"a tilde", "yaml", `{terminator: ~}`, `{"terminator":"~"}`},
		{"null as a text", "yaml", `{terminator: null}`, `{"terminator":"null"}`},
		{"yes", "yaml", `{terminator: yes}`, `{"terminator":"yes"}`},
		{"true", "yaml", `{terminator: True}`, `{"terminator":"True"}`},
		{"a float", "yaml", `{terminator: 1e3}`, `{"terminator":"1e3"}`},
		{"1.50", "yaml", `{terminator: 1.50}`, `{"terminator":"1.50"}`},
		{".inf", "yaml", `{terminator: .inf}`, `{"terminator":".inf"}`},
		{"+1", "yaml", `{terminator: +1}`, `{"terminator":"+1"}`},
		{"underscores", "yaml", `{terminator: 1_000}`, `{"terminator":"1_000"}`},
		{"a date", "yaml", `{terminator: 2001-01-01}`, `{"terminator":"2001-01-01"}`},
		{"a range", "yaml", `{also_accept: [00-1F]}`, `{"also_accept":["00-1F"]}`},
		{"octal", "yaml", `{terminator: 0o17}`, `{"terminator":"0o17"}`},
		{"quotes", "yaml", `{terminator: '\'}`, `{"terminator":"\\"}`},
		{"an empty text in quotes", "yaml", `{terminator: ''}`, `{"terminator":""}`},
		{"escapes", "yaml", `{terminator: "\r\n"}`, `{"terminator":"\r\n"}`},
		{"a list", "yaml", `{also_accept: [LF, 0x0D, 7]}`, `{"also_accept":["LF","0x0D","7"]}`},
		{"keys are source text too", "yaml", `{map: {0x0A: 1, ~: "0012", '\': yes}}`, `{"map":{"0x0A":"1","\\":"yes","~":"0012"}}`},
		{"numbers", "yaml", `{width: 4, control: [0, 0x02]}`, `{"control":[0,2],"width":4}`},
		{"true and false", "yaml", `{abort: true}`, `{"abort":true}`},
		{"nested", "yaml", `{nested: {deep: 0x00}}`, `{"nested":{"deep":"0x00"}}`},
		{"any type", "yaml", `{pool: [1, a, true, ~, "1"]}`, `{"pool":[1,"a",true,null,"1"]}`},
		{"TOML", "toml", `{terminator = "0x0B", width = 4, abort = true, control = [1]}`,
			`{"abort":true,"control":[1],"terminator":"0x0B","width":4}`},
		{"JSON", "json", `{"terminator": "0x0B", "width": 4, "map": {"LF": "n"}}`, `{"map":{"LF":"n"},"terminator":"0x0B","width":4}`},
	}
	for _, test := range tests {
		got, err := optionsOf(t, test.format, test.options).OptionsJSON(testCodec.Schema())
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	tests := []struct {
		name, format, options string
		want                  []string
	}{
		{"an unknown option", "yaml", `{terminatr: LF}`, []string{
			`f.yaml:4:13: codecs[0].options.terminatr: got an unknown option, want one of abort, also_accept, control, map, ` +
				`nested, pool, style, terminator, width; did you mean terminator?`}},
		{"an empty option", "yaml", `{terminator: , width: }`, []string{
			`f.yaml:4:24: codecs[0].options.terminator: got nothing, want a bytes value: a name such as LF, hex such as 0x0A, or text`,
			`f.yaml:4:33: codecs[0].options.width: got nothing, want a whole number`}},
		{"wrong types", "yaml", `{terminator: [LF], width: "4", abort: yes, control: 5, map: [], nested: {deep: {}}}`, []string{
			`f.yaml:4:25: codecs[0].options.terminator: got a list, want a bytes value: a name such as LF, hex such as 0x0A, or text`,
			`f.yaml:4:38: codecs[0].options.width: got "4", want a whole number`,
			`f.yaml:4:50: codecs[0].options.abort: got "yes", want true or false`,
			`f.yaml:4:64: codecs[0].options.control: got "5", want a list`,
			`f.yaml:4:72: codecs[0].options.map: got a list, want a mapping`,
			`f.yaml:4:91: codecs[0].options.nested.deep: got a mapping, want a bytes value: a name such as LF, hex such as 0x0A, or text`}},
		{"octal or not", "yaml", `{width: 010}`, []string{`f.yaml:4:20: codecs[0].options.width: got "010", want a whole number`}},
		{"bytes values", "yaml", `{terminator: 0x0, also_accept: [LF, ü], map: {0xZZ: n}}`, []string{
			`f.yaml:4:25: codecs[0].options.terminator: got "0x0", want two hex digits for each byte after 0x`,
			`f.yaml:4:48: codecs[0].options.also_accept[1]: got "ü", want a name, hex, or text up to U+007F; ` +
				`write the bytes in hex, such as 0xC3BC for UTF-8`,
			`f.yaml:4:64: codecs[0].options.map.0xZZ: got "0xZZ", want two hex digits for each byte after 0x`}},
		{"what the schema says", "yaml", `{width: 9, style: mapp, control: [1, 2, 3]}`, []string{
			`f.yaml:4:20: codecs[0].options.width: got "9", want at most 8`,
			`f.yaml:4:30: codecs[0].options.style: got "mapp", want one of map, xor; did you mean map?`,
			`f.yaml:4:45: codecs[0].options.control: got a list, want at most 2 items`}},
		{"a fraction", "yaml", `{width: 1.5}`, []string{`f.yaml:4:20: codecs[0].options.width: got "1.5", want a value of type integer`}},
		{"bare in JSON", "json", `{"terminator": 11, "also_accept": [true, null]}`, []string{
			`f.json:2:27: codecs[0].options.terminator: got 11, want a bytes value: a name such as LF, hex such as 0x0A, or text, in quotes`,
			`f.json:2:47: codecs[0].options.also_accept[0]: got true, want a bytes value: a name such as LF, hex such as 0x0A, or text, in quotes`,
			`f.json:2:53: codecs[0].options.also_accept[1]: got null, want a bytes value: a name such as LF, hex such as 0x0A, or text, in quotes`}},
		{"bare in TOML", "toml", `{terminator = 0x0B, width = 1979-05-27}`, []string{
			`f.toml:4:25: codecs[0].options.terminator: got 0x0B, want a bytes value: a name such as LF, hex such as 0x0A, or text, in quotes`,
			`f.toml:4:39: codecs[0].options.width: got 1979-05-27, want a whole number`}},
	}
	for _, test := range tests {
		_, err := optionsOf(t, test.format, test.options).OptionsJSON(testCodec.Schema())
		if errs := (Errors)(nil); !errors.As(err, &errs) {
			t.Errorf("%s: got %v, want Errors", test.name, err)
			continue
		}
		if diff := cmp.Diff(strings.Join(test.want, "\n"), err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// Plugins in other languages write schemas in other ways.
func TestForeignSchemas(t *testing.T) {
	tests := []struct{ name, schema, options, want string }{
		{"references", `{"$ref": "#/$defs/o", "$defs": {"o": {"properties": {"t": {"$ref": "#/$defs/s"}}}, "s": {"type": "string"}}}`,
			`{t: 0x0B}`, `{"t":"0x0B"}`},
		{"several types", `{"properties": {"a": {"type": ["integer", "null"]}, "b": {"type": ["null", "integer"]}}}`,
			`{a: 5, b: ~}`, `{"a":5,"b":null}`},
		{"alternatives", `{"properties": {"p": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
			"q": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}}}`,
			`{p: 1, q: [1]}`, `{"p":"1","q":["1"]}`},
		{"an enumeration without type", `{"properties": {"e": {"enum": ["1", "2"]}}}`, `{e: 1}`, `{"e":"1"}`},
		{"no schema to speak of", `true`, `{a: 0x0B, b: x}`, `{"a":11,"b":"x"}`},
		{"a reference to nowhere", `{"$ref": "#/$defs/none"}`, `{a: b}`, `schema`},
		{"no schema", `{"type": 5}`, `{}`, `schema`},
		{"no JSON", `{`, `{}`, `schema`},
	}
	for _, test := range tests {
		got, err := optionsOf(t, "yaml", test.options).OptionsJSON(json.RawMessage(test.schema))
		if test.want == "schema" {
			if errs := (Errors)(nil); err == nil || errors.As(err, &errs) {
				t.Errorf("%s: got %s, %v, want an error about the schema", test.name, got, err)
			}
			continue
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
}

func TestPlaceOptionError(t *testing.T) {
	c := optionsOf(t, "yaml", `{terminator: LF, map: {0xC0: a, a.b: {c: 1}}, also_accept: [CR, 0x0D], 'x[1]': 2}`)
	tests := []struct{ option, want string }{
		{"terminator", "f.yaml:4:25: codecs[0].options.terminator: got it, want other"},
		{"map.0xC0", "f.yaml:4:41: codecs[0].options.map.0xC0: got it, want other"},
		{"map.a.b.c", "f.yaml:4:53: codecs[0].options.map.a.b.c: got it, want other"},
		{"map.0xDB", "f.yaml:4:34: codecs[0].options.map.0xDB: got it, want other"},
		{"also_accept[1]", "f.yaml:4:76: codecs[0].options.also_accept[1]: got it, want other"},
		{"also_accept[7]", "f.yaml:4:71: codecs[0].options.also_accept[7]: got it, want other"},
		{"x[1]", "f.yaml:4:91: codecs[0].options.x[1]: got it, want other"},
		{"missing", "f.yaml:4:12: codecs[0].options.missing: got it, want other"},
		{"options", "f.yaml:4:12: codecs[0].options: got it, want other"},
	}
	for _, test := range tests {
		got := c.PlaceOptionError(&codecs.OptionError{Option: test.option, Got: "it", Want: "other"})
		if got.Error() != test.want {
			t.Errorf("%s: got %s, want %s", test.option, got, test.want)
		}
	}
	err := fmt.Errorf("plugin escape: %w", errors.Join(
		&codecs.OptionError{Option: "also_accept[0]", Want: "other"},
		fmt.Errorf("wrapped: %w", &codecs.OptionError{Option: "terminator", Got: "it", Want: "other"}),
		errors.New("max_frame is too small")))
	want := `f.yaml:2:3: codecs[0]: max_frame is too small
f.yaml:4:25: codecs[0].options.terminator: got it, want other
f.yaml:4:72: codecs[0].options.also_accept[0]: got nothing, want other`
	if diff := cmp.Diff(want, c.PlaceOptionError(err).Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOptionsOverAProfile(t *testing.T) {
	c := mustParse(t, "codecs:\n- {name: a, profile: mllp, options: {terminator: 0x1C}}\n- {name: b, profile: mllp}\n", LoadOptions{})
	schema := json.RawMessage(`{"type": "object", "additionalProperties": {"type": "string"}}`)
	got, err := c.Codecs[0].OptionsJSON(schema)
	if want := `{"start":"0x0B","style":"none","terminator":"0x1C"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for i, want := range []string{
		"test.yaml:2:37: codecs[0].options.start: got it, want other", "test.yaml:3:3: codecs[1].options.start: got it, want other",
	} {
		err := c.Codecs[i].PlaceOptionError(&codecs.OptionError{Option: "start", Got: "it", Want: "other"})
		if err.Error() != want {
			t.Errorf("got %s, want %s", err, want)
		}
	}
}

func TestCodecsFromArguments(t *testing.T) {
	c, err := NewCodec("escape", "escape", "", []string{
		"terminator=0x0B", "width=4", "abort=true", "map={LF: n, 0x0D: '='}", "also_accept=[CR, 1]", "style=xor", "nested={deep: [}"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.OptionsJSON(testCodec.Schema())
	if want := "-o nested: not YAML: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	c, _ = NewCodec("escape", "escape", "", []string{
		"terminator==", "width=4", "abort=true", "map={LF: n, 0x0D: '='}", "also_accept=[CR, 1]", "style=xor"})
	got, err := c.OptionsJSON(testCodec.Schema())
	want := `{"abort":true,"also_accept":["CR","1"],"map":{"0x0D":"=","LF":"n"},"style":"xor","terminator":"=","width":4}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	c, _ = NewCodec("escape", "escape", "", []string{"terminator=0x0", "width=four", "widht=4", "map={LF: ü}"})
	_, err = c.OptionsJSON(testCodec.Schema())
	want = `-o map: map.LF: got "ü", want a name, hex, or text up to U+007F; write the bytes in hex, such as 0xC3BC for UTF-8
-o terminator: got "0x0", want two hex digits for each byte after 0x
-o widht: got an unknown option, want one of abort, also_accept, control, map, nested, pool, style, terminator, width; did you mean width?
-o width: got "four", want a whole number`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := NewCodec("x", "escape", "", []string{"terminator"}); err == nil {
		t.Error("an option without = was accepted")
	}
	if _, err := NewCodec("mlp", "", "mlp", nil); err == nil || !strings.Contains(err.Error(), "did you mean mllp?") {
		t.Errorf("got %v, want a suggestion", err)
	}
	c, err = NewCodec("mllp", "", "mllp", []string{"terminator=FS"})
	if err != nil || c.Plugin != "escape" {
		t.Fatal(c, err)
	}
	got, err = c.OptionsJSON(json.RawMessage(`{"additionalProperties": {"type": "string"}}`))
	if want := `{"start":"0x0B","style":"none","terminator":"FS"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

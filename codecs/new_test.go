package codecs_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/framehost/framehost/codecs"
)

// everything has an option of each kind.
type everything struct {
	On    bool           `json:"on" jsonschema_description:"a switch"`
	Least int            `json:"least" jsonschema:"minimum=0" jsonschema_description:"a number"`
	Size  uint16         `json:"size" jsonschema_description:"another"`
	Name  string         `json:"name" jsonschema_description:"a text"`
	End   codecs.Bytes   `json:"end" jsonschema_description:"bytes"`
	List  []codecs.Bytes `json:"list,omitempty" jsonschema_description:"some of them"`
	Map   codecs.ByteMap `json:"map,omitempty" jsonschema_description:"a byte for a byte"`
}

var everyOption = codecs.New(codecs.Info{Name: "every", Version: "1.0.0", Description: "every kind of option"},
	everything{Least: 3, End: "\n"},
	func(o *everything, _ int) (codecs.Framing, error) {
		var errs []error
		for _, option := range []string{"on", "name"} {
			if o.Name == "both at fault" {
				errs = append(errs, &codecs.OptionError{Option: option, Want: "another"})
			}
		}
		return codecs.FromFuncs(codecs.Funcs{}), errors.Join(errs...)
	})

func TestOptionsInForce(t *testing.T) {
	tests := []struct{ name, options, want string }{
		{"the defaults", ``, `{"on":false,"least":3,"size":0,"name":"","end":"LF"}`},
		{"the defaults, as an object", `{}`, `{"on":false,"least":3,"size":0,"name":"","end":"LF"}`},
		{"some set", `{"end": "0x0D0A", "list": ["LF", "0x7C"], "map": {"0x0A": "n"}}`,
			`{"on":false,"least":3,"size":0,"name":"","end":"CRLF","list":["LF","|"],"map":{"LF":"n"}}`},
	}
	for _, test := range tests {
		_, got, err := everyOption.Configure(json.RawMessage(test.options), 100)
		if err != nil || string(got) != test.want {
			t.Errorf("%s:\n got  %s, %v\n want %s", test.name, got, err, test.want)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	tests := []struct {
		options string
		want    string // all errors, a line each
	}{
		{`[]`, `option options: got [], want a JSON object`},
		{`{"no": 1}`, `option no: got an option that does not exist, want one of on, least, size, name, end, list, map`},
		{`{"On": true}`, `option On: got an option that does not exist, want one of on, least, size, name, end, list, map`},
		{`{"on": 1, "least": "2", "size": -1}`, "option least: got \"2\", want a whole number\n" +
			"option on: got 1, want true or false\noption size: got -1, want a whole number, not negative"},
		{`{"least": 1.5}`, `option least: got 1.5, want a whole number`},
		{`{"end": null}`, `option end: got null, want a value, or the option left out`},
		{`{"end": 10}`, `option end: got 10, want a string: a name such as LF, hex such as 0x0A, or text`},
		{`{"list": "LF"}`, `option list: got "LF", want a list`},
		{`{"list": ["0x1"]}`, `option list: got "0x1", want two hex digits for each byte after 0x`},
		{`{"map": {"LF": "nn"}}`, `option map.LF: got "nn", 2 bytes, want one byte`},
		{`{"name": "both at fault"}`, "option on: want another\noption name: want another"},
	}
	for _, test := range tests {
		framing, _, err := everyOption.Configure(json.RawMessage(test.options), 100)
		if err == nil || framing != nil {
			t.Errorf("%s: got %v, %v, want an error", test.options, framing, err)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%s: %s", test.options, diff)
		}
	}
	for _, maxFrame := range []int{0, codecs.MaxFrame + 1} {
		if _, _, err := everyOption.Configure(nil, maxFrame); err == nil {
			t.Errorf("max_frame %d: got no error", maxFrame)
		}
	}
}

func TestSchema(t *testing.T) {
	var schema struct {
		Type                 string
		AdditionalProperties *bool
		Properties           map[string]struct {
			Type, Format, Description string
			Default                   any
			Items                     struct{ Format string }
		}
	}
	if err := json.Unmarshal(everyOption.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Type != "object" || schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Errorf("got %s, want an object of these properties and no others", everyOption.Schema())
	}
	p := schema.Properties
	if end := p["end"]; end.Type != "string" || end.Format != codecs.BytesFormat || end.Default != "LF" || end.Description != "bytes" {
		t.Errorf("end: got %+v, want a bytes value with the default LF", end)
	}
	if list := p["list"]; list.Default != nil || list.Items.Format != codecs.BytesFormat {
		t.Errorf("list: got %+v, want a list of bytes values, without a default", list)
	}
	if least := p["least"]; least.Default != 3.0 {
		t.Errorf("least: got %+v, want the default 3", least)
	}
}

func TestMaxWireOf(t *testing.T) {
	for _, test := range []struct{ overhead, maxFrame, want int }{
		{2, 100, 102}, {0, 100, 4*100 + 4096}, {0, codecs.MaxFrame, codecs.MaxWire},
	} {
		framing := codecs.FromFuncs(codecs.Funcs{Overhead: test.overhead})
		if got := codecs.MaxWireOf(framing, test.maxFrame); got != test.want {
			t.Errorf("overhead %d, max_frame %d: got %d, want %d", test.overhead, test.maxFrame, got, test.want)
		}
	}
}

// sharing has a default of each kind that refers to memory.
type sharing struct {
	List    []int                `json:"list" jsonschema_description:"a list"`
	Structs []inner              `json:"structs" jsonschema_description:"a list of structs"`
	Map     map[string]string    `json:"map" jsonschema_description:"a map"`
	Bytes   codecs.ByteMap       `json:"bytes" jsonschema_description:"a byte for a byte"`
	Pointer *int                 `json:"pointer" jsonschema_description:"a number, or not"`
	Struct  inner                `json:"struct" jsonschema_description:"options within an option"`
	Deep    map[string][]*inner  `json:"deep" jsonschema_description:"all of it"`
	Big     *big.Int             `json:"big" jsonschema_description:"reads JSON itself"`
	Any     any                  `json:"any" jsonschema_description:"whatever there is"`
	Array   [2]map[string]string `json:"array" jsonschema_description:"two maps"`
	Within  struct{ embedded }   `json:"within" jsonschema_description:"promoted members"`
}

type embedded struct {
	Tags []int `json:"tags"`
}

type inner struct {
	Name string `json:"name,omitempty"`
	Tags []int  `json:"tags,omitempty"`
}

func sharedDefaults() sharing {
	one := 1
	defaults := sharing{
		List: []int{1, 2, 3}, Structs: []inner{{Name: "default", Tags: []int{1}}}, Map: map[string]string{"a": "default"},
		Bytes: codecs.ByteMap{'a': 'b'}, Pointer: &one, Struct: inner{Name: "default", Tags: []int{1, 2}},
		Deep: map[string][]*inner{"a": {{Name: "default", Tags: []int{1}}}}, Big: big.NewInt(1 << 40),
		Any: map[string]any{"a": "default"}, Array: [2]map[string]string{{"a": "default"}, nil},
	}
	defaults.Within.Tags = []int{1, 2}
	return defaults
}

const defaultsInForce = `{"list":[1,2,3],"structs":[{"name":"default","tags":[1]}],"map":{"a":"default"},"bytes":{"a":"b"},` +
	`"pointer":1,"struct":{"name":"default","tags":[1,2]},"deep":{"a":[{"name":"default","tags":[1]}]},"big":1099511627776,` +
	`"any":{"a":"default"},"array":[{"a":"default"},null],"within":{"tags":[1,2]}}`

// The options set for one codec are not in the defaults of the next, whatever configure does with its options.
func TestOptionsAreNotShared(t *testing.T) {
	defaults := sharedDefaults()
	var kept []*sharing
	codec := codecs.New(codecs.Info{Name: "sharing"}, defaults, func(o *sharing, _ int) (codecs.Framing, error) {
		kept = append(kept, o)
		return codecs.FromFuncs(codecs.Funcs{}), nil
	})
	configure := func(options, want string) {
		t.Helper()
		_, got, err := codec.Configure(json.RawMessage(options), 100)
		if err != nil || string(got) != want {
			t.Errorf("options %s:\n got  %s, %v\n want %s", options, got, err, want)
		}
	}
	// A list and a map replace the default; in a struct, only the members that are set change.
	configure(`{"list": [7], "structs": [{"tags": [7]}], "map": {"b": "set"}, "bytes": {"c": "d"}, "pointer": 7,
		"struct": {"tags": [7]}, "deep": {"a": [{"tags": [7]}], "b": []}, "big": 7, "any": {"b": "set"}, "array": [{"b": "set"}],
		"within": {"tags": [7]}}`,
		`{"list":[7],"structs":[{"tags":[7]}],"map":{"b":"set"},"bytes":{"c":"d"},`+
			`"pointer":7,"struct":{"name":"default","tags":[7]},"deep":{"a":[{"tags":[7]}],"b":[]},"big":7,`+
			`"any":{"b":"set"},"array":[{"a":"default","b":"set"},null],"within":{"tags":[7]}}`)
	configure(`{}`, defaultsInForce)

	o := kept[1] // the options with the defaults
	o.List[0], o.Structs[0].Tags[0], o.Map["b"], o.Bytes['b'], *o.Pointer, o.Struct.Tags[0] = 7, 7, "set", 'c', 7, 7
	o.Deep["a"][0].Tags[0], o.Deep["a"][0].Name, o.Any.(map[string]any)["b"], o.Array[0]["b"] = 7, "set", "set", "set"
	o.Within.Tags[0] = 7
	configure(`{}`, defaultsInForce)

	defaults.List[0], defaults.Map["b"], *defaults.Pointer = 7, "changed by the author after New", 7
	configure(`{}`, defaultsInForce)
}

// Codecs are configured concurrently. Under the race detector, this finds options that share memory.
func TestConfiguredSideBySide(t *testing.T) {
	codec := codecs.New(codecs.Info{Name: "sharing"}, sharedDefaults(), func(o *sharing, _ int) (codecs.Framing, error) {
		o.List, o.Map["configure"], o.Struct.Tags[0] = append(o.List, 4), "wrote this", 9
		return codecs.FromFuncs(codecs.Funcs{}), nil
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			set := strconv.Itoa(i)
			options := `{"list": [` + set + `], "map": {"a": "` + set + `"}, "deep": {"` + set + `": [{"tags": [` + set + `]}]}}`
			_, got, err := codec.Configure(json.RawMessage(options), 100)
			want := `{"list":[` + set + `,4],"structs":[{"name":"default","tags":[1]}],"map":{"a":"` + set +
				`","configure":"wrote this"},"bytes":{"a":"b"},"pointer":1,"struct":{"name":"default","tags":[9,2]},"deep":{"` + set +
				`":[{"tags":[` + set + `]}]},"big":1099511627776,"any":{"a":"default"},"array":[{"a":"default"},null],"within":{"tags":[1,2]}}`
			if err != nil || string(got) != want {
				t.Errorf("options %s:\n got  %s, %v\n want %s", options, got, err, want)
			}
		})
	}
	all.Wait()
}

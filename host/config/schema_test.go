package config

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"
	schemas "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/framehost/framehost/codecs"
)

// makeSchema derives the schema from the types, their tags and their comments.
func makeSchema(t *testing.T) []byte {
	r := jsonschema.Reflector{
		Anonymous: true, FieldNameTag: "config", RequiredFromJSONSchemaTags: true, ExpandedStruct: true, Mapper: leafSchema,
	}
	if err := r.AddGoComments("github.com/framehost/framehost/host/config", "."); err != nil {
		t.Fatal(err)
	}
	schema := r.Reflect(&Config{})
	schema.Version = "https://json-schema.org/draft/2020-12/schema"
	schema.Title = "framehost configuration"
	complete(schema, reflect.TypeFor[Config]())
	for _, of := range []reflect.Type{
		reflect.TypeFor[Limits](), reflect.TypeFor[Timeouts](), reflect.TypeFor[Log](), reflect.TypeFor[Control](),
		reflect.TypeFor[Metrics](), reflect.TypeFor[Quarantine](), reflect.TypeFor[Discovery](), reflect.TypeFor[Plugin](),
		reflect.TypeFor[Codec](), reflect.TypeFor[Route](), reflect.TypeFor[Endpoint](), reflect.TypeFor[Rule](),
		reflect.TypeFor[Reconnect](), reflect.TypeFor[UDP](), reflect.TypeFor[Flows](), reflect.TypeFor[Queue](),
		reflect.TypeFor[Announce](),
	} {
		complete(schema.Definitions[of.Name()], of)
	}
	schema.Definitions["Codec"].OneOf = eitherRequired("plugin", "profile")
	schema.Definitions["Endpoint"].OneOf = eitherRequired("listen", "dial")
	schema.Definitions["Rule"].OneOf = eitherRequired("address", "starts_with")
	to, _ := schema.Definitions["Route"].Properties.Get("to")
	one := &jsonschema.Schema{Ref: to.Ref}
	least := uint64(1)
	to.Ref, to.OneOf = "", []*jsonschema.Schema{one, {Type: "array", Items: one, MinItems: &least}}
	profile, _ := schema.Definitions["Codec"].Properties.Get("profile")
	for _, p := range Profiles() {
		profile.Enum = append(profile.Enum, p.Name)
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func eitherRequired(keys ...string) (out []*jsonschema.Schema) {
	for _, key := range keys {
		out = append(out, &jsonschema.Schema{Required: []string{key}})
	}
	return out
}

// leafSchema returns the schema of a type that is written as a scalar, or nil for other types.
func leafSchema(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: "^(0|[0-9]+(B|KiB|MiB|GiB|kB|MB|GB))$"}, {Type: "integer"},
		}}
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$"}
	case reflect.TypeFor[Address]():
		return &jsonschema.Schema{Type: "string", Pattern: "^(tcp|udp|unix|discover)://"}
	case reflect.TypeFor[netip.Prefix](), reflect.TypeFor[netip.Addr]():
		return &jsonschema.Schema{Type: "string"}
	case reflect.TypeFor[[]string]():
		return &jsonschema.Schema{Type: "array", Items: anyScalar()}
	case reflect.TypeFor[map[string]string]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: anyScalar()}
	case reflect.TypeFor[codecs.Bytes]():
		return anyScalar()
	case reflect.TypeFor[fs.FileMode]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string", Pattern: "^(0o)?[0-7]{3,4}$"}, {Type: "integer"}}}
	case reflect.TypeFor[Options]():
		return &jsonschema.Schema{Type: "object"}
	}
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		s := &jsonschema.Schema{Type: "string"}
		for _, v := range e.values() {
			s.Enum = append(s.Enum, v)
		}
		return s
	}
	return nil
}

// anyScalar returns the schema of a text whose source text counts: an editor reads 0x0B as a number and ~ as null.
func anyScalar() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}, {Type: "null"}}}
}

// complete adds to the schema of type t the required keys and the keys that are not built yet. In the descriptions, it replaces the name
// of the field by its key.
func complete(s *jsonschema.Schema, t reflect.Type) {
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("config")
		property, ok := s.Properties.Get(name)
		if !ok {
			continue
		}
		if field.Tag.Get("required") != "" {
			s.Required = append(s.Required, name)
		}
		if rest, ok := strings.CutPrefix(property.Description, field.Name+" "); ok {
			property.Description = name + " " + rest
		}
		property.Description = strings.Join(strings.Fields(property.Description), " ")
	}
	notBuilt := notBuiltKeys[strings.ToLower(t.Name())]
	for _, name := range slices.Sorted(maps.Keys(notBuilt)) {
		harmless := notBuilt[name]
		if harmless == "" {
			continue
		}
		var only any = harmless
		if harmless == "false" {
			only = false
		}
		s.Properties.Set(name, &jsonschema.Schema{Const: only, Description: "Not built yet: only " + harmless + "."})
	}
}

func TestSchemaIsCurrent(t *testing.T) { golden(t, "schema.json", string(makeSchema(t))) }

func compileSchema(t *testing.T) *schemas.Schema {
	t.Helper()
	doc, err := schemas.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := schemas.NewCompiler()
	if err := c.AddResource("framehost:schema", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("framehost:schema")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plain converts a node to the value that an editor's YAML parser would return.
func plain(n *node) any {
	switch n.kind {
	case mapping:
		out := map[string]any{}
		for _, e := range n.entries {
			out[e.key] = plain(e.value)
		}
		return out
	case list:
		out := []any{}
		for _, item := range n.items {
			out = append(out, plain(item))
		}
		return out
	}
	return resolved(n)
}

func TestSchemaAcceptsGoodConfigurations(t *testing.T) {
	schema := compileSchema(t)
	files, err := filepath.Glob("testdata/good/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "default.yaml", "starter.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		root, errs := read(file, formatOf(file), data)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if err := schema.Validate(plain(root)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchemaRefusesWhatAnEditorShouldMark(t *testing.T) {
	schema := compileSchema(t)
	for _, text := range []string{
		"limit: {}", "limits: {max_frame: 10mb}", "timeouts: {idle: 5}", "codecs: [{name: a}]", "codecs: [{name: a, profile: mlp}]",
		"codecs: [{name: a, profile: mllp, plugin: escape}]", "routes: [{name: a}]",
		"routes: [{name: a, from: {codec: a}, to: {dial: 'tcp://a:1', codec: a}}]",
		"routes: [{name: a, from: {listen: 'tls://a:1', codec: a}, to: {dial: 'tcp://a:1', codec: a}}]",
		"routes: [{name: a, from: {listen: 'udp://:1', codec: a}, to: []}]",
		"routes: [{name: a, from: {listen: 'udp://:1', codec: a}, to: [{dial: 'tcp://a:1'}]}]",
		"routes: [{name: a, from: {listen: 'udp://:1', codec: a}, to: {listen: 'tcp://:1', codec: a, queue: {policy: drop}}}]",
		"routes: [{name: a, from: {listen: 'tcp://:1', codec: a, announce: {}}, to: {dial: 'tcp://a:1', codec: a}}]",
		"log: {level: loud}", "data_plane: shmem", "plugins: [{name: a, path: a, data_plane: tcp}]",
	} {
		root, errs := read("text", "yaml", []byte(text))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if schema.Validate(plain(root)) == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

package codecs

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// New returns a Codec whose options are a struct of type O. defaults holds the default values; the JSON object of the
// options is decoded over a copy of them. A list or a map in that object replaces the default list or map; for a struct,
// only the members in the object change. Fields are named by their json tags. The schema is derived from the struct:
// types, the constraints and descriptions of jsonschema tags (see github.com/invopop/jsonschema), and the defaults. An
// option that the struct does not have is refused, and so is null.
//
// configure makes the framing. It may fill in defaults that depend on other options: *options, as configure leaves it,
// is the options in force. It reports a faulty option with an *OptionError, several joined with errors.Join.
//
// Each call of configure gets its own options. They share no memory with defaults or with the options of another call,
// not even through slices, maps and pointers, and configure and the framing may change and keep them. Only values that
// are reached through unexported fields are shared.
func New[O any](info Info, defaults O, configure func(options *O, maxFrame int) (Framing, error)) Codec {
	return &codec[O]{info: info, defaults: copyOf(defaults), configure: configure, schema: schemaOf(defaults)}
}

type codec[O any] struct {
	info      Info
	defaults  O
	configure func(*O, int) (Framing, error)
	schema    json.RawMessage
}

func (c *codec[O]) Info() Info              { return c.info }
func (c *codec[O]) Schema() json.RawMessage { return c.schema }

func (c *codec[O]) Configure(raw json.RawMessage, maxFrame int) (Framing, json.RawMessage, error) {
	if maxFrame < 1 || maxFrame > MaxFrame {
		return nil, nil, fmt.Errorf("max_frame: got %d bytes, want 1 to %d", maxFrame, MaxFrame)
	}
	options := copyOf(c.defaults)
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := decodeOptions(raw, &options); err != nil {
			return nil, nil, err
		}
	}
	framing, err := c.configure(&options, maxFrame)
	if err != nil {
		return nil, nil, err
	}
	inForce, err := json.Marshal(options)
	if err != nil {
		return nil, nil, fmt.Errorf("options in force: %w", err)
	}
	return framing, inForce, nil
}

// decodeOptions decodes each member of the object raw on its own, so that every option at fault is reported.
func decodeOptions(raw json.RawMessage, options any) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return &OptionError{Option: "options", Got: string(raw), Want: "a JSON object"}
	}
	fields := map[string]reflect.Value{}
	var names []string
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	var errs []error
	for _, name := range sortedKeys(members) {
		field, ok := fields[name]
		if !ok {
			errs = append(errs, &OptionError{Option: name, Got: "an option that does not exist",
				Want: "one of " + strings.Join(names, ", ")})
			continue
		}
		if string(members[name]) == "null" { // JSON null would mean the zero value for some types, the default for others
			errs = append(errs, &OptionError{Option: name, Got: "null", Want: "a value, or the option left out"})
			continue
		}
		if replaced(field.Type()) {
			field.SetZero()
		}
		if err := json.Unmarshal(members[name], field.Addr().Interface()); err != nil {
			errs = append(errs, optionError(name, members[name], err))
		}
	}
	return errors.Join(errs...)
}

// replaced reports whether an option of type t replaces its default, rather than being decoded over it. Otherwise
// encoding/json would leave members of the default in the elements of a list, and keys of the default in a map. A type
// that reads JSON itself starts from the zero value, since it may write into memory that copyOf can't reach.
func replaced(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Slice || t.Kind() == reflect.Map || unmarshalsItself(t) || unmarshalsItself(p)
}

// unmarshalsItself reports whether t unmarshals itself.
func unmarshalsItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// copyOf returns a copy of v that shares no memory with it, except memory reached through unexported fields, channels
// and functions.
func copyOf[T any](v T) T {
	out := v
	unshare(reflect.ValueOf(&out).Elem())
	return out
}

// unshare replaces the memory that v points to by copies.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct {
				unshare(v.Field(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			unshare(v.Index(i))
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(out, v)
		for i := range out.Len() {
			unshare(out.Index(i))
		}
		v.Set(out)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			out.SetMapIndex(key, unshared(value))
		}
		v.Set(out)
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return
		}
		out := unshared(v.Elem())
		if v.Kind() == reflect.Pointer {
			out = out.Addr()
		}
		v.Set(out)
	}
}

// unshared returns a copy of v that can be set.
func unshared(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	unshare(out)
	return out
}

func optionError(name string, got json.RawMessage, err error) error {
	if e := (*OptionError)(nil); errors.As(err, &e) {
		at := *e
		at.Option = name
		if e.Option != "" {
			at.Option += "." + e.Option
		}
		return &at
	}
	want := err.Error()
	if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
		want = typeName(e.Type)
	}
	return &OptionError{Option: name, Got: string(got), Want: want}
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	default:
		return t.String()
	}
}

// schemaOf derives the JSON Schema of the options struct; the values in defaults are its defaults.
func schemaOf(defaults any) json.RawMessage {
	reflector := jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true}
	schema := reflector.Reflect(defaults)
	schema.Version = "https://json-schema.org/draft/2020-12/schema"
	v := reflect.ValueOf(defaults)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		property, ok := schema.Properties.Get(name)
		if !ok || !showsDefault(v.Field(i)) {
			continue
		}
		property.Default = v.Field(i).Interface()
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("codecs: schema of %T: %v", defaults, err)) // a struct that can't be JSON is the author's mistake
	}
	return out
}

// showsDefault reports whether the schema shows v as a default. A nil list or map is left out: its default depends
// on other options or is empty.
func showsDefault(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		return !v.IsNil()
	default:
		return true
	}
}

package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/spf13/viper"
)

// envPrefix begins the names of environment variables; after it and _ comes the key in capitals, with _ for each dot.
const envPrefix = "FRAMEHOST"

// overlay returns root with single values replaced by environment variables and --set flags. viper implements the precedence: flags
// override the environment, which overrides the file. overlay gives viper only the single values of the file, because viper would fold
// the case of keys and split keys at dots. An empty variable counts as not set.
func overlay(root *node, opts LoadOptions) (*node, Errors, []Warning) {
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	if opts.Env {
		v.AutomaticEnv()
	}
	keys := singleKeys()
	file := map[string]any{}
	for _, key := range keys {
		section, name, nested := strings.Cut(key, ".")
		n := root.get(section)
		switch {
		case n == nil:
		case !nested:
			file[key] = n
		case n.kind == mapping && n.get(name) != nil:
			if file[section] == nil {
				file[section] = map[string]any{}
			}
			file[section].(map[string]any)[name] = n.get(name)
		}
	}
	if err := v.MergeConfigMap(file); err != nil {
		return root, Errors{{Got: err.Error()}}, nil
	}
	errs := setFlags(v, opts.Set, keys)
	var warnings []Warning
	if opts.Env {
		warnings = strayVariables(keys)
	}
	for _, key := range keys {
		switch value := v.Get(key).(type) {
		case *node:
			if value.syntax == syntaxArgument {
				root = replace(root, key, value)
			}
		case string:
			root = replace(root, key, argument(variable(key), value))
		}
	}
	return root, errs, warnings
}

// setValues returns the values of root that flags and variables set, as KEY=VALUE. It makes paths, which are relative to dir, absolute.
func setValues(root *node, dir string) (set []string) {
	for _, key := range singleKeys() {
		section, name, nested := strings.Cut(key, ".")
		n := root.get(section)
		if nested && n != nil && n.kind == mapping {
			n = n.get(name)
		}
		if n == nil || n.syntax != syntaxArgument {
			continue
		}
		value := n.text
		switch key {
		case "control.socket", "quarantine.dir", "discovery.key_file":
			value = under(dir, value)
		}
		set = append(set, key+"="+value)
	}
	return set
}

// singleKeys returns the keys that variables and flags can set: the keys of single values outside lists.
func singleKeys() []string {
	var keys []string
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		name := field.Tag.Get("config")
		switch {
		case name == "" || name == "-" || field.Type.Kind() == reflect.Slice:
		case field.Type.Kind() != reflect.Struct:
			keys = append(keys, name)
		default:
			for j := range field.Type.NumField() {
				if inner := field.Type.Field(j); inner.Type.Kind() != reflect.Slice {
					keys = append(keys, name+"."+inner.Tag.Get("config"))
				}
			}
		}
	}
	return keys
}

func setFlags(v *viper.Viper, flags, keys []string) (errs Errors) {
	for _, flag := range flags {
		key, value, found := strings.Cut(flag, "=")
		at := Position{File: "--set " + key, Key: key}
		known := false
		for _, k := range keys {
			known = known || k == key
		}
		switch {
		case !found:
			errs = append(errs, Position{File: "--set " + flag}.Error(quote(flag), "KEY=VALUE, such as limits.max_frame=2MiB"))
		case known:
			v.Set(key, argument(at.File, value))
		default:
			want := "a key of a single value, such as limits.max_frame; lists are set in the file"
			if near := Nearest(key, keys); near != "" {
				want += "; did you mean " + near + "?"
			}
			errs = append(errs, at.Error("an unknown key", want))
		}
	}
	return errs
}

func variable(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// kubernetesText matches the variables that Kubernetes sets in containers if there is a service called framehost.
var kubernetesText = regexp.MustCompile(`^FRAMEHOST_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)$`)

// strayVariables returns warnings of environment variables that begin with FRAMEHOST_ and set no key. They are not errors, because other
// programs may set such variables: for a service named framehost-metrics, Kubernetes sets FRAMEHOST_METRICS_PORT.
func strayVariables(keys []string) []Warning {
	known := map[string]bool{}
	var names []string
	for _, key := range keys {
		known[variable(key)] = true
		names = append(names, variable(key))
	}
	var warnings []Warning
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix+"_") || known[name] || kubernetesText.MatchString(name) {
			continue
		}
		text := "is not the variable of any key, and has no effect"
		list := listOf(name)
		if near := Nearest(name, names); list != "" {
			text += fmt.Sprintf(": %s are set in the file", list)
		} else if near != "" {
			text += fmt.Sprintf("; did you mean %s?", near)
		}
		warnings = append(warnings, Warning{Position{File: name}, text})
	}
	return warnings
}

// listOf returns the key of the list that the variable called name was probably meant to set, or "".
func listOf(name string) string {
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		key := config.Field(i).Tag.Get("config")
		if config.Field(i).Type.Kind() == reflect.Slice && key != "" && strings.HasPrefix(name+"_", variable(key)+"_") {
			return key
		}
	}
	return ""
}

func argument(source, text string) *node {
	return &node{kind: scalar, syntax: syntaxArgument, text: text, file: source}
}

// replace returns a copy of root in which key has value. It does not change root.
func replace(root *node, key string, value *node) *node {
	section, name, nested := strings.Cut(key, ".")
	if !nested {
		return root.with(key, value)
	}
	inner := root.get(section)
	if inner == nil {
		inner = &node{kind: mapping, file: value.file}
	}
	if inner.kind != mapping {
		return root // the decoder will report that the section is not a mapping
	}
	return root.with(section, inner.with(name, value))
}

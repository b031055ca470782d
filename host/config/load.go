package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// LoadOptions say what else goes into a configuration. The zero value: nothing.
type LoadOptions struct {
	// Set are the values of --set flags, such as "limits.max_frame=2MiB". Of several for one key the last counts.
	Set []string
	// Env says that environment variables count, such as FRAMEHOST_LIMITS_MAX_FRAME. Flags go before them, and they go
	// before the file.
	Env bool
	// Builtin are the names of the plugins that are built in. nil: those of this repository.
	Builtin []string
}

var builtinPlugins = []string{"base64", "escape", "lenprefix", "swapterm"}

// Load reads the configuration file at path. Its format follows from its name: .json, .toml, else YAML. What is wrong in
// it comes as [Errors], everything at once; a file that can't be read as another error.
func Load(path string, opts LoadOptions) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, formatOf(path), data, opts)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Parse reads a configuration from data. name is the file's name in errors, and relative paths are relative to its
// directory. format is yaml (or ""), toml or json. Errors are as those of Load.
func Parse(name, format string, data []byte, opts LoadOptions) (*Config, error) {
	root, errs := read(name, format, data)
	yaml := format != "json" && format != "toml"
	if len(errs) > 0 {
		if yaml {
			errs = append(errs, oddBlanks(name, data)...)
		}
		errs.sort()
		return nil, errs
	}
	root, errs, warnings := overlay(root, opts)
	c := Default()
	c.File = name
	c.Set = setValues(root, filepath.Dir(name))
	c.Warnings = warnings
	d := &decoder{dir: filepath.Dir(name), positions: map[string]Position{}, errs: errs}
	d.defaults = func(element reflect.Value) {
		switch e := element.Addr().Interface().(type) {
		case *Plugin:
			e.DataPlane = c.DataPlane
		case *Route:
			*e = Route{OnViolation: ViolationClose, Limits: c.Limits, Timeouts: c.Timeouts,
				From: defaultEndpoint(), To: defaultEndpoint()}
		case *Endpoint:
			*e = defaultEndpoint()
		case *Flows:
			*e = Flows{Max: 1024, Idle: time.Minute}
		case *Announce:
			*e = Announce{Interval: 10 * time.Second, TTL: 30 * time.Second}
		}
	}
	d.structure(root, "", reflect.ValueOf(c).Elem())
	c.positions = d.positions
	v := &validator{decoder: d, config: c, builtin: opts.Builtin}
	if v.builtin == nil {
		v.builtin = builtinPlugins
	}
	v.validate()
	d.warnings = append(d.warnings, variables(root, d.errs)...)
	if len(d.errs) > 0 {
		if yaml {
			d.errs = append(d.errs, oddBlanks(name, data)...)
		}
		d.errs.sort()
		return nil, slices.Clip(d.errs)
	}
	c.Warnings = append(c.Warnings, d.warnings...)
	c.warn()
	return c, nil
}

func defaultEndpoint() Endpoint {
	return Endpoint{
		Direction: Both,
		Reconnect: Reconnect{Min: 100 * time.Millisecond, Max: 30 * time.Second},
		UDP:       UDP{TTL: 1, ReceiveBuffer: 4 * MiB},
		Queue:     Queue{Frames: 1024, Bytes: MiB, Policy: DropOldest},
	}
}

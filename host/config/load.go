package config

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// LoadOptions are the inputs of a configuration besides its file. With the zero value, only the file counts.
type LoadOptions struct {
	// Set are the values of --set flags, such as "limits.max_frame=2MiB". If several set one key, the last counts.
	Set []string
	// Env makes environment variables count, such as FRAMEHOST_LIMITS_MAX_FRAME. They override the file, and flags override them.
	Env bool
	// Builtin are the names of the plugins that are built in. nil means those of this repository.
	Builtin []string
}

var builtinPlugins = []string{"base64", "escape", "lenprefix", "swapterm"}

// Load reads the configuration file at path. The file's name decides its format: .json, .toml, otherwise YAML. If the configuration is
// wrong, Load returns all mistakes as [Errors]; if the file can't be read, an error of another type. The file may be a pipe, which can
// be silent for ever: when ctx ends, Load returns an error that wraps the error of ctx.
func Load(ctx context.Context, path string, opts LoadOptions) (*Config, error) {
	data, err := readFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, formatOf(path), data, opts)
}

// readFile returns the contents of the file at path. When ctx ends first, readFile abandons the read: opening a pipe and
// reading from it can't be interrupted.
func readFile(ctx context.Context, path string) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := readBounded(path)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", path, ctx.Err())
	}
}

// readBounded returns the contents of the file at path, or an error if they are longer than maxFile. It reads at most one byte more
// than maxFile, because a device or a pipe may have no end.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("%s: got more than %d bytes, want at most that many", path, maxFile)
	}
	return data, err
}

// Parse reads a configuration from data. name is the file's name: errors show it, and relative paths are relative to its directory.
// format is yaml (or ""), toml or json. If the configuration is wrong, Parse returns all mistakes as [Errors].
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

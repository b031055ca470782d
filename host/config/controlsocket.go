package config

import (
	"context"
	"fmt"
	"path/filepath"
)

// ControlSocket returns control.socket of the configuration file at path, or "" for the default path. The result is absolute if the
// working directory is known. ControlSocket ignores mistakes in other values, but the file must be well-formed.
func ControlSocket(ctx context.Context, path string, opts LoadOptions) (string, error) {
	data, err := readFile(ctx, path)
	if err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	root, errs := read(path, formatOf(path), data)
	if len(errs) > 0 {
		errs.sort()
		return "", fmt.Errorf("%w\ntherefore control.socket can't be read; name the socket with --socket", errs)
	}
	root, _, _ = overlay(root, opts)
	section := root.get("control")
	if section == nil || section.kind != mapping {
		return "", nil
	}
	n := section.get("socket")
	if n == nil || n.isNull() {
		return "", nil
	}
	if !n.isText() {
		return "", Errors{n.at("control.socket").Error(n.got(), wantText(n))}
	}
	return under(filepath.Dir(path), n.text), nil
}

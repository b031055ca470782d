package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxFile is the longest configuration file that is accepted, in bytes.
const maxFile = 1 << 20

// formatOf returns the format that the extension of a file name stands for: json, toml, or otherwise yaml.
func formatOf(name string) string {
	switch ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), ".")); ext {
	case "json", "toml":
		return ext
	default:
		return "yaml"
	}
}

// read converts the contents of a file to nodes. If it returns no errors, the root is a mapping.
func read(file, format string, data []byte) (*node, Errors) {
	s := &source{file: file, data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	if len(data) > maxFile {
		s.addError(Position{}, fmt.Sprintf("%d bytes", len(data)), fmt.Sprintf("at most %d", maxFile))
		return nil, s.errs
	}
	if !utf8.Valid(s.data) {
		bad := 0
		for r, size := utf8.DecodeRune(s.data); r != utf8.RuneError || size > 1; r, size = utf8.DecodeRune(s.data[bad:]) {
			bad += size
		}
		s.addError(s.position(bad, ""), fmt.Sprintf("the byte 0x%02X", s.data[bad]), "UTF-8")
		return nil, s.errs
	}
	var root *node
	switch format {
	case "", "yaml", "yml":
		root = s.readYAML()
	case "json":
		root = s.readJSON()
	case "toml":
		root = s.readTOML()
	default:
		s.addError(Position{}, fmt.Sprintf("the format %q", format), "yaml, toml or json")
	}
	if len(s.errs) > 0 {
		return nil, s.errs
	}
	if root.isNull() {
		root = &node{kind: mapping, file: file, line: 1, column: 1}
	}
	if root.kind != mapping {
		s.addError(root.at(""), root.got(), "a mapping, with keys such as codecs and routes")
		return nil, s.errs
	}
	return root, nil
}

package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// node is a value as it was written, with its position. The readers of all formats produce nodes, and all other code works on nodes, so
// that one place decides what a value means. Nodes are not changed after their file was read, and may be shared.
type node struct {
	kind   shape
	syntax syntax
	text   string // scalar: its source text, quotes and escapes resolved
	quoted bool   // scalar: was in quotes, or a block

	entries []entry // mapping, in the order of the file
	items   []*node // list

	file         string
	line, column int
	values       int // from YAML: number of values in the node, itself included
}

type shape int

const (
	scalar shape = iota
	list
	mapping
)

// syntax is the format that a scalar was written in. In YAML and in arguments any scalar can be a text, even one that looks like a
// number; in JSON and TOML only a scalar in quotes can.
type syntax int

const (
	syntaxYAML syntax = iota
	syntaxJSON
	syntaxTOML
	syntaxArgument // a flag or an environment variable
)

type entry struct {
	key          string
	line, column int
	value        *node
}

func (n *node) at(key string) Position {
	return Position{File: n.file, Line: n.line, Column: n.column, Key: key}
}

func (e *entry) at(key string) Position {
	return Position{File: e.value.file, Line: e.line, Column: e.column, Key: key}
}

// get returns the value of key in a mapping, or nil.
func (n *node) get(key string) *node {
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].value
		}
	}
	return nil
}

// with returns a copy of the mapping n in which key has value.
func (n *node) with(key string, value *node) *node {
	out := *n
	out.entries = nil
	found := false
	for _, e := range n.entries {
		if e.key == key {
			e.value, found = value, true
		}
		out.entries = append(out.entries, e)
	}
	if !found {
		out.entries = append(out.entries, entry{key: key, line: value.line, column: value.column, value: value})
	}
	return &out
}

// isText reports whether a scalar can be read as text.
func (n *node) isText() bool {
	return n.kind == scalar && (n.quoted || n.syntax == syntaxYAML || n.syntax == syntaxArgument)
}

// isBare reports whether a scalar can be read as a number or a boolean.
func (n *node) isBare() bool { return n.kind == scalar && !n.quoted }

// isNull reports whether n is null or, in YAML, was left empty: "key:".
func (n *node) isNull() bool {
	if n.kind != scalar || n.quoted || n.syntax == syntaxArgument {
		return false
	}
	switch n.text {
	case "", "~", "null", "Null", "NULL":
		return n.syntax == syntaxYAML || n.text == "null"
	}
	return false
}

// got describes the node for errors, as what was got.
func (n *node) got() string {
	switch {
	case n.kind == mapping:
		return "a mapping"
	case n.kind == list:
		return "a list"
	case n.text == "" && !n.quoted:
		return "nothing"
	case n.isText():
		return quote(n.text)
	default:
		return strings.Trim(quote(n.text), `"`)
	}
}

// Limits on the values that aliases, and on the depth that nesting, can make of a small file.
const (
	maxValues = 200_000
	maxDepth  = 100
)

func childKey(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func itemKey(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// source is a file that is being read into nodes.
type source struct {
	file string
	data []byte
	errs Errors

	last  struct{ offset, line, column int } // last result of place; line 0: none yet
	lines map[*node]map[string]int           // line numbers of the keys of each mapping
}

func (s *source) addError(p Position, got, want string) {
	p.File = s.file
	s.errs = append(s.errs, p.Error(got, want))
}

// place returns the line and column, in characters, of a byte offset. It counts from the last offset on, so that a whole file takes
// linear time.
func (s *source) place(offset int) (line, column int) {
	offset = min(max(offset, 0), len(s.data))
	if s.last.line == 0 || offset < s.last.offset {
		s.last.offset, s.last.line, s.last.column = 0, 1, 1
	}
	skipped := s.data[s.last.offset:offset]
	if begin := bytes.LastIndexByte(skipped, '\n') + 1; begin > 0 {
		s.last.line += bytes.Count(skipped, []byte("\n"))
		s.last.column = 1
		skipped = skipped[begin:]
	}
	s.last.column += utf8.RuneCount(skipped)
	s.last.offset = offset
	return s.last.line, s.last.column
}

func (s *source) position(offset int, key string) Position {
	line, column := s.place(offset)
	return Position{File: s.file, Line: line, Column: column, Key: key}
}

// add appends e to the mapping n. If n already has the key, add adds an error instead.
func (s *source) add(n *node, e entry, key string) {
	if s.lines == nil {
		s.lines = map[*node]map[string]int{}
	}
	if s.lines[n] == nil {
		s.lines[n] = map[string]int{}
	}
	if line, ok := s.lines[n][e.key]; ok {
		s.addError(Position{Line: e.line, Column: e.column, Key: key}, fmt.Sprintf("given twice; the first is at line %d", line), "")
		return
	}
	s.lines[n][e.key] = e.line
	n.entries = append(n.entries, e)
}

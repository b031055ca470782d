package config

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// readTOML reads a TOML document.
func (s *source) readTOML() *node {
	root := &node{kind: mapping, syntax: syntaxTOML, file: s.file, line: 1, column: 1}
	// The decoder checks TOML's rules about tables and keys that occur twice; the parser below provides positions.
	var rules map[string]any
	if err := toml.Unmarshal(s.data, &rules); err != nil {
		var e *toml.DecodeError
		if !errors.As(err, &e) {
			s.addError(Position{}, "not TOML: "+err.Error(), "")
			return root
		}
		line, column := e.Position()
		s.addError(Position{Line: line, Column: max(column, 1), Key: dotted(e.Key())}, "not TOML: "+e.Error(), "")
		return root
	}
	t := tomlReader{source: s}
	t.parser.Reset(s.data)
	table, path := root, ""
	for t.parser.NextExpression() {
		switch e := t.parser.Expression(); e.Kind {
		case unstable.Table:
			table, path = t.table(root, e.Key(), false)
		case unstable.ArrayTable:
			table, path = t.table(root, e.Key(), true)
		case unstable.KeyValue:
			t.keyValue(table, path, e, 0)
		}
	}
	if err := t.parser.Error(); err != nil {
		s.addError(Position{}, "not TOML: "+err.Error(), "")
	}
	return root
}

func dotted(key toml.Key) string {
	path := ""
	for _, k := range key {
		path = childKey(path, k)
	}
	return path
}

type tomlReader struct {
	*source
	parser unstable.Parser
}

// table returns the table that a header names, and its path. It makes the table and its parents if they are missing. For an array table,
// it appends a table to the array and returns that.
func (t *tomlReader) table(n *node, keys unstable.Iterator, array bool) (*node, string) {
	path := ""
	for keys.Next() {
		k := keys.Node()
		name, last := string(k.Data), keys.IsLast()
		path = childKey(path, name)
		line, column := t.place(int(k.Raw.Offset))
		child := n.get(name)
		if child == nil {
			child = &node{kind: mapping, syntax: syntaxTOML, file: t.file, line: line, column: column}
			if last && array {
				child.kind = list
			}
			n.entries = append(n.entries, entry{key: name, line: line, column: column, value: child})
		}
		if last && array {
			child.items = append(child.items,
				&node{kind: mapping, syntax: syntaxTOML, file: t.file, line: line, column: column})
		}
		if child.kind == list && len(child.items) > 0 {
			path = itemKey(path, len(child.items)-1)
			child = child.items[len(child.items)-1]
		}
		n = child
	}
	return n, path
}

// keyValue adds a key, which may be dotted, and its value to table.
func (t *tomlReader) keyValue(table *node, path string, e *unstable.Node, depth int) {
	keys := e.Key()
	for keys.Next() {
		k := keys.Node()
		name := string(k.Data)
		path = childKey(path, name)
		line, column := t.place(int(k.Raw.Offset))
		if keys.IsLast() {
			value := t.value(e.Value(), path, int(k.Raw.Offset+k.Raw.Length), depth)
			t.add(table, entry{key: name, line: line, column: column, value: value}, path)
			return
		}
		child := table.get(name)
		if child == nil {
			child = &node{kind: mapping, syntax: syntaxTOML, file: t.file, line: line, column: column}
			table.entries = append(table.entries, entry{key: name, line: line, column: column, value: child})
		}
		table = child
	}
}

// value converts v, which begins after the offset after. It searches for the beginning of a list, because the parser does not report it.
func (t *tomlReader) value(v *unstable.Node, path string, after, depth int) *node {
	offset := int(v.Raw.Offset)
	if v.Kind == unstable.Array {
		offset = after + max(bytes.IndexByte(t.data[after:], '['), 0)
	}
	line, column := t.place(offset)
	n := &node{syntax: syntaxTOML, file: t.file, line: line, column: column}
	if depth > maxDepth {
		t.addError(n.at(""), fmt.Sprintf("more than %d levels", maxDepth), "fewer")
		return n
	}
	children := v.Children()
	switch v.Kind {
	case unstable.Array:
		n.kind = list
		for i := 0; children.Next(); i++ {
			n.items = append(n.items, t.value(children.Node(), itemKey(path, i), offset+1, depth+1))
		}
	case unstable.InlineTable:
		n.kind = mapping
		for children.Next() {
			t.keyValue(n, path, children.Node(), depth+1)
		}
	case unstable.String:
		n.text, n.quoted = string(v.Data), true
	default:
		n.text = string(v.Data)
	}
	return n
}

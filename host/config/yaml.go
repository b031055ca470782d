package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readYAML reads one YAML document. It supports anchors, aliases and merge keys. It refuses tags, and keys that are lists or mappings.
func (s *source) readYAML() (root *node) {
	none := &node{file: s.file, line: 1, column: 1}
	defer func() {
		// The parser may panic on odd input. A bad file must not end a running host that reloads its configuration.
		if r := recover(); r != nil {
			s.addError(Position{}, fmt.Sprintf("not YAML that can be read: %v", r), "")
			root = none
		}
	}()
	tokens := lexer.Tokenize(string(s.data))
	if !s.shallow(tokens) {
		return none
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		s.syntaxError(err)
		return none
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if d, ok := doc.Body.(*ast.DirectiveNode); ok {
			s.addError(tokenAt(d.GetToken(), ""), "a directive", "none")
		} else if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		return none
	}
	if len(bodies) > 1 {
		s.addError(tokenAt(first(bodies[1]), ""), "a second document", "one document in a file")
		return none
	}
	y := yamlReader{source: s, anchors: map[string]*node{}, lines: strings.Split(string(s.data), "\n")}
	return y.node(bodies[0], "")
}

// shallow reports whether the nesting is no deeper than maxDepth, and otherwise adds an error. Deeper nesting could exhaust the stack of
// the recursive parser.
func (s *source) shallow(tokens token.Tokens) bool {
	depth, line, nested := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, nested = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			nested++
		}
		if depth+nested > maxDepth {
			s.addError(tokenAt(t, ""), fmt.Sprintf("more than %d levels", maxDepth), "fewer")
			return false
		}
	}
	return true
}

func (s *source) syntaxError(err error) {
	if s.backslashes() {
		return // the parser's own error would mislead
	}
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		s.addError(Position{}, "not YAML: "+err.Error(), "")
		return
	}
	message := e.GetMessage()
	if strings.Contains(message, "character '\t'") {
		message = "a tab; YAML is indented with spaces"
	}
	at := tokenAt(e.GetToken(), "")
	if found := variableText.FindString(s.lineOf(at)); found != "" { // inside { }, YAML reads the braces of ${...} as a mapping
		message += "; " + fmt.Sprintf(notSubstituted, found)
	}
	s.addError(at, "not YAML: "+message, "")
}

// lineOf returns the text of the line that p is in.
func (s *source) lineOf(p Position) string {
	line := ""
	for text := range strings.Lines(string(s.data)) {
		if line = text; p.Line <= 1 {
			break
		}
		p.Line--
	}
	return line
}

func tokenAt(t *token.Token, key string) Position {
	return Position{Line: t.Position.Line, Column: max(t.Position.Column, 1), Key: key}
}

type yamlReader struct {
	*source
	anchors map[string]*node // anchors with complete values
	merges  int              // entries that merge keys have copied
	lines   []string
	line    int    // number of the line whose characters are in runes
	runes   []rune // characters of that line, for columnOf
}

func (y *yamlReader) node(n ast.Node, key string) *node {
	out := y.convert(n, key)
	if out.values > maxValues {
		y.addError(out.at(key), fmt.Sprintf("more than %d values, with aliases written out", maxValues), "fewer")
		return &node{file: y.file, line: out.line, column: out.column, values: 1}
	}
	return out
}

func (y *yamlReader) convert(n ast.Node, key string) *node {
	at := tokenAt(first(n), key)
	out := &node{syntax: syntaxYAML, file: y.file, line: at.Line, column: at.Column}
	switch n := n.(type) {
	case *ast.MappingNode:
		out.kind = mapping
		y.mapping(out, n.Values, key, n.IsFlowStyle)
	case *ast.MappingValueNode:
		out.kind = mapping
		y.mapping(out, []*ast.MappingValueNode{n}, key, false)
	case *ast.SequenceNode:
		out.kind = list
		for i, item := range n.Values {
			out.items = append(out.items, y.node(item, itemKey(key, i)))
		}
	case *ast.AnchorNode:
		value := y.node(n.Value, key)
		y.anchors[n.Name.GetToken().Value] = value
		return value
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		value, ok := y.anchors[name]
		if !ok {
			y.addError(at, fmt.Sprintf("*%s", name), fmt.Sprintf("the name of an anchor above, &%s", name))
			return out
		}
		return value
	case *ast.TagNode:
		y.addError(at, fmt.Sprintf("the tag %s", n.GetToken().Value), "no tag; quote a text, or write a bytes value as it is")
	case *ast.LiteralNode:
		out.text, out.quoted = n.Value.Value, true
	case *ast.NullNode:
		if t := n.GetToken(); t.Type != token.ImplicitNullType {
			out.text = t.Value
		}
	case *ast.StringNode:
		t := n.GetToken()
		out.text = n.Value
		out.quoted = t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
		if !out.quoted {
			out.column = y.columnOf(out)
		}
	default:
		// Numbers, booleans and the like: only their source text counts.
		out.text = n.GetToken().Value
	}
	out.values = 1
	for _, e := range out.entries {
		out.values += e.value.values
	}
	for _, item := range out.items {
		out.values += item.values
	}
	return out
}

// columnOf returns the column of a plain scalar. The lexer's column is too large if blanks follow the scalar.
func (y *yamlReader) columnOf(n *node) int {
	if n.line > len(y.lines) {
		return n.column
	}
	if y.line != n.line {
		y.line, y.runes = n.line, []rune(y.lines[n.line-1])
	}
	head, _, _ := strings.Cut(n.text, " ")
	word := []rune(head)
	for begin := min(n.column-1, len(y.runes)-len(word)); begin >= 0; begin-- {
		if slices.Equal(y.runes[begin:begin+len(word)], word) {
			return begin + 1
		}
	}
	return n.column
}

func (y *yamlReader) mapping(out *node, values []*ast.MappingValueNode, key string, braces bool) {
	var merged []*node
	for _, v := range values {
		at := tokenAt(first(v.Key), key)
		if v.Key.IsMergeKey() {
			merged = append(merged, y.merged(v.Value, at)...)
			continue
		}
		name, ok := keyText(v.Key)
		if !ok {
			y.addError(at, "a key that is no scalar", "a name")
			continue
		}
		at.Key = childKey(key, name)
		if value, ok := y.joined(v); ok && braces {
			y.addError(at, fmt.Sprintf("a key called %s", quote(name+":"+value)),
				fmt.Sprintf("a blank after the colon: %s: %s", name, value))
		}
		y.add(out, entry{key: name, line: at.Line, column: at.Column, value: y.node(v.Value, at.Key)}, at.Key)
	}
	// The mapping's own keys override those merged into it, and earlier merged mappings override later ones.
	if len(merged) == 0 {
		return
	}
	known := map[string]bool{}
	for _, e := range out.entries {
		known[e.key] = true
	}
	for _, m := range merged {
		for _, e := range m.entries {
			if known[e.key] {
				continue
			}
			if y.merges++; y.merges > maxValues { // counted here, since the values of a list are counted only at its end
				if y.merges == maxValues+1 {
					y.addError(out.at(key), fmt.Sprintf("more than %d values, with aliases written out", maxValues), "fewer")
				}
				return
			}
			known[e.key] = true
			out.entries = append(out.entries, e)
		}
	}
}

// joined reports whether a plain key and its value are written without a blank after the colon, and returns the value's text. In YAML, and
// in editors, "key:value" is one key, but within braces this parser separates the two.
func (y *yamlReader) joined(v *ast.MappingValueNode) (text string, ok bool) {
	name, plain := v.Key.(*ast.StringNode)
	colon, value := v.Start, first(v.Value)
	if !plain || name.GetToken().Type != token.StringType || colon == nil || colon.Position.Line > len(y.lines) ||
		value.Type == token.ImplicitNullType || value.Position.Line != colon.Position.Line {
		return "", false
	}
	line := []rune(y.lines[colon.Position.Line-1])
	if at := colon.Position.Column; at < 1 || at >= len(line) || line[at-1] != ':' || strings.ContainsRune(" \t\r{[", line[at]) {
		return "", false
	}
	return value.Value, true
}

// merged returns the mappings that the merge key << names.
func (y *yamlReader) merged(value ast.Node, at Position) []*node {
	n := y.node(value, childKey(at.Key, "<<"))
	nodes := []*node{n}
	if n.kind == list {
		nodes = n.items
	}
	for _, n := range nodes {
		if n.kind != mapping {
			y.addError(at, "<< with "+n.got(), "an alias of a mapping")
			return nil
		}
	}
	return nodes
}

// keyText returns the source text of a key.
func keyText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.MappingKeyNode:
		return keyText(n.Value)
	case *ast.StringNode:
		return n.Value, true
	case *ast.NullNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// first returns the token where n begins.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return first(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return first(n.Key)
	}
	return n.GetToken()
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// readJSON reads one JSON value.
func (s *source) readJSON() *node {
	j := jsonReader{source: s, dec: json.NewDecoder(bytes.NewReader(s.data))}
	j.dec.UseNumber()
	root := j.value("", 0)
	if len(s.errs) == 0 {
		begin := j.begin()
		if _, err := j.dec.Token(); !errors.Is(err, io.EOF) {
			s.addError(s.position(begin, ""), "more than one JSON value", "one")
		}
	}
	return root
}

type jsonReader struct {
	*source
	dec *json.Decoder
}

// begin returns the offset of the next token.
func (j *jsonReader) begin() int {
	offset := int(j.dec.InputOffset())
	for offset < len(j.data) && bytes.IndexByte([]byte(" \t\r\n:,"), j.data[offset]) >= 0 {
		offset++
	}
	return offset
}

// token returns the next token and its offset. If there is none, it adds an error and returns json.Delim(0).
func (j *jsonReader) token(key string) (json.Token, int) {
	begin := j.begin()
	t, err := j.dec.Token()
	if err == nil {
		return t, begin
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		j.addError(j.position(int(syntax.Offset)-1, key), "not JSON: "+syntax.Error(), "")
	default:
		j.addError(j.position(len(j.data), key), "not JSON: it ends too early", "")
	}
	return json.Delim(0), begin
}

func (j *jsonReader) value(key string, depth int) *node {
	t, begin := j.token(key)
	line, column := j.place(begin)
	n := &node{syntax: syntaxJSON, file: j.file, line: line, column: column}
	if depth > maxDepth {
		j.addError(n.at(""), fmt.Sprintf("more than %d levels", maxDepth), "fewer")
		return n
	}
	switch t := t.(type) {
	case json.Delim:
		switch t {
		case '{':
			n.kind = mapping
			j.object(n, key, depth)
		case '[':
			n.kind = list
			for i := 0; len(j.errs) == 0 && j.dec.More(); i++ {
				n.items = append(n.items, j.value(itemKey(key, i), depth+1))
			}
			j.close(key)
		}
	case string:
		n.text, n.quoted = t, true
	case json.Number:
		n.text = t.String()
	case bool:
		n.text = fmt.Sprint(t)
	case nil:
		n.text = "null"
	}
	return n
}

func (j *jsonReader) object(n *node, key string, depth int) {
	for len(j.errs) == 0 && j.dec.More() {
		t, begin := j.token(key)
		name, ok := t.(string)
		if !ok {
			return
		}
		line, column := j.place(begin)
		path := childKey(key, name)
		value := j.value(path, depth+1)
		before := len(j.errs)
		j.add(n, entry{key: name, line: line, column: column, value: value}, path)
		if len(j.errs) > before {
			return
		}
	}
	j.close(key)
}

// close reads the end of a list or object, unless there was an error.
func (j *jsonReader) close(key string) {
	if len(j.errs) == 0 {
		j.token(key)
	}
}

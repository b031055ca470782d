package config

import (
	"fmt"
	"strings"
)

// Position says where a value was written: a position in a file, or an environment variable or flag.
type Position struct {
	File         string // the file's name; or FRAMEHOST_LIMITS_MAX_FRAME, --set limits.max_frame, -o terminator
	Line, Column int    // from 1, the column in characters; 0: File is not a file, or the position in it is not known
	Key          string // the path of the key, such as routes[0].from.listen
}

// Error returns an error about the value at p: got is what was written, and want is what would be accepted.
func (p Position) Error(got, want string) *Error {
	return &Error{File: p.File, Line: p.Line, Column: p.Column, Key: p.Key, Got: got, Want: want}
}

// String returns p as FILE:LINE:COLUMN: KEY, without the parts that are not known.
func (p Position) String() string {
	var parts []string
	switch {
	case p.File != "" && p.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column))
	case p.File != "":
		parts = append(parts, p.File)
	}
	if p.Key != "" && !strings.HasSuffix(p.File, " "+p.Key) {
		parts = append(parts, p.Key)
	}
	return strings.Join(parts, ": ")
}

// before compares p and q in the order of reports, like strings.Compare: positions in files by line and column, then flags and variables.
func (p Position) before(q Position) int {
	if (p.Line == 0) != (q.Line == 0) {
		return q.Line - p.Line
	}
	if c := strings.Compare(p.File, q.File); c != 0 {
		return c
	}
	if p.Line != q.Line {
		return p.Line - q.Line
	}
	if p.Column != q.Column {
		return p.Column - q.Column
	}
	return strings.Compare(p.Key, q.Key)
}

// where returns the position of key, or of the nearest enclosing key that has one, with Key set to key.
func where(positions map[string]Position, file, key string) Position {
	for k := key; ; k = parentKey(k) {
		if p, ok := positions[k]; ok {
			p.Key = key
			return p
		}
		if k == "" {
			return Position{File: file, Key: key}
		}
	}
}

func parentKey(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

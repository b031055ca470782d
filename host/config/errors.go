package config

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a configuration.
type Error struct {
	File         string // as in Position
	Line, Column int    // as in Position
	Key          string // the path of the key, such as routes[0].from.listen; "" for the whole file
	Got          string // the text that was written there; if Want is empty, the whole message
	Want         string // what would be accepted
}

// Error returns FILE:LINE:COLUMN: KEY: got GOT, want WANT.
func (e *Error) Error() string {
	text := e.Got
	if e.Want != "" {
		text = "got " + e.Got + ", want " + e.Want
	}
	if at := e.position().String(); at != "" {
		return at + ": " + text
	}
	return text
}

func (e *Error) position() Position {
	return Position{File: e.File, Line: e.Line, Column: e.Column, Key: e.Key}
}

// Errors are all mistakes in a configuration, sorted by position.
type Errors []*Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(a.position().before(b.position()), strings.Compare(a.Got, b.Got))
	})
}

// Warning reports a setting that is allowed but probably not meant.
type Warning struct {
	Position
	Text string
}

// String returns FILE:LINE:COLUMN: KEY: TEXT.
func (w Warning) String() string {
	if at := w.Position.String(); at != "" {
		return at + ": " + w.Text
	}
	return w.Text
}

// quote returns text in double quotes, cut after 80 characters.
func quote(text string) string {
	const most = 80
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "…"
	}
	return `"` + strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`, "\x00", `\0`).Replace(text) + `"`
}

//go:build linux

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	takeRole(os.Args)
	os.Exit(m.Run())
}

// A short run of two rows, with all processes of a long run.
func TestRun(t *testing.T) {
	var out, progress bytes.Buffer
	args := []string{"-rows", "flood-256,ping-1", "-rounds", "1", "-seconds", "0.2", "-warmup", "50ms", "-markdown"}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &out)
	}
	var measures []string
	for line := range strings.Lines(out.String()) {
		if cells := strings.Split(line, " | "); len(cells) == len(header.cells()) && cells[1] != header.measure {
			measures = append(measures, cells[1])
			for _, figure := range cells[2:5] { // on a busy machine next to nothing crosses in so short a time
				if !strings.ContainsAny(figure, "0123456789") {
					t.Errorf("got %q in %s", figure, line)
				}
			}
		}
	}
	if got, want := strings.Join(measures, " "), "frames/s p50 p99"; got != want {
		t.Errorf("got lines for %q, want %q:\n%s", got, want, &out)
	}
	if !strings.Contains(out.String(), "escape by ") || !strings.Contains(out.String(), "lenprefix by ") {
		t.Errorf("got no data planes:\n%s", &out)
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	tests := []struct{ args, want string }{
		{"-rows flod-64", `-rows: got "flod-64", want some of flood-64 `},
		{"-rows flood-64,ping-2", `-rows: got "ping-2", want some of flood-64 `},
		{"-rows [", `-rows: "[": syntax error in pattern`},
		{"-rounds 0", "-rounds: got 0, want at least 1"},
		{"-seconds 0", "-seconds and -warmup: got 0s and 500ms, want more than none"},
		{"flood-64", `unknown argument "flood-64"`},
	}
	for _, test := range tests {
		var out, progress bytes.Buffer
		err := run(t.Context(), strings.Fields(test.args), &out, &progress)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.args, err, test.want)
		}
	}
}

func TestChooseRows(t *testing.T) {
	tests := []struct{ patterns, want string }{
		{"*", rowNames()},
		{"ping-*", "ping-1 ping-100"},
		{"ping-1,flood-?k", "flood-1k ping-1"},
	}
	for _, test := range tests {
		chosen, err := chooseRows(test.patterns)
		var names []string
		for _, row := range chosen {
			names = append(names, row.name)
		}
		if got := strings.Join(names, " "); got != test.want || err != nil {
			t.Errorf("%s: got %q (%v), want %q", test.patterns, got, err, test.want)
		}
	}
}

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMain(m *testing.M) {
	serveFragile(os.Args)
	os.Exit(m.Run())
}

// A short run, with all kinds of events of a long run.
func TestChaos(t *testing.T) {
	var out, progress bytes.Buffer
	args := []string{"-seed", "1", "-frames", "30000", "-deaths", "10", "-drains", "2", "-sessions", "8", "-limit", "8m"}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &out)
	}
	for _, want := range []string{
		" in which ", "an answer after a kill:  p50 ", "bystander of deadly payloads:  p50 ", "no deadly payloads come:      p50 ",
		"     0  connects refused",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, &out)
		}
	}
	t.Log(out.String())
}

func TestArgumentsThatAreRefused(t *testing.T) {
	tests := []struct{ args, want string }{
		{"-frames 0", "-frames, -deaths, -drains and -sessions: want positive numbers"},
		{"-deaths -1", "-frames, -deaths, -drains and -sessions: want positive numbers"},
		{"all", `unknown argument "all"`},
	}
	for _, test := range tests {
		err := run(t.Context(), strings.Fields(test.args), io.Discard, io.Discard)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.args, err, test.want)
		}
	}
}

// The framings that chaos implements itself are correct.
func TestFramings(t *testing.T) {
	all := newPayloads(1)
	frames := [][]byte{nil, []byte("\n"), []byte("\x1b"), []byte(`\`), []byte("\x1bn"), []byte("plain")}
	for n := range 2000 {
		frames = append(frames, all.append(nil, 5, 'u', n))
	}
	for i := range framings {
		f := &framings[i]
		t.Run(f.plugin, func(t *testing.T) {
			var wire []byte
			for _, frame := range frames {
				wire = f.append(wire, frame)
			}
			r := bufio.NewReader(iotest.HalfReader(bytes.NewReader(wire)))
			for n, want := range frames {
				got, err := f.read(r)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("frame %d: got %q, %v, want %q", n, head(got), err, head(want))
				}
			}
			if _, err := f.read(r); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: got %v, want EOF", err)
			}
			cut := f.append(nil, []byte("a\nb"))
			if _, err := f.read(bufio.NewReader(bytes.NewReader(cut[:len(cut)-1]))); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("inside a frame: got %v, want an unexpected EOF", err)
			}
		})
	}
}

// A payload follows from the seed, the session, the direction and its number, and names its session and direction.
func TestPayloads(t *testing.T) {
	one, other := newPayloads(1), newPayloads(1)
	for n := range 3000 {
		a, b := one.append(nil, 77, 'd', n), other.append(nil, 77, 'd', n)
		if !bytes.Equal(a, b) {
			t.Fatalf("frame %d: got %q and %q for one seed", n, head(a), head(b))
		}
		if id, letter, ok := sessionOf(a); id != 77 || letter != 'd' || !ok || len(a) > longestPayload {
			t.Fatalf("frame %d: got session %d, %c, %v, and %d bytes", n, id, letter, ok, len(a))
		}
		if bytes.Equal(a, one.append(nil, 77, 'u', n)) || bytes.Equal(a, one.append(nil, 78, 'd', n)) {
			t.Fatalf("frame %d is that of another stream too", n)
		}
		if bytes.IndexByte(a, '~') >= 0 {
			t.Fatalf("frame %d has the byte that swapped terminators are", n)
		}
	}
	if _, _, ok := sessionOf([]byte("e/\x0e garbage that is long enough to be one")); ok {
		t.Error("garbage was taken for a session's payload")
	}
}

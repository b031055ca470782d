package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// A line is written as soon as it has arrived, even when the next line has begun to arrive.
func TestLinesAreEncodedAsTheyArrive(t *testing.T) {
	typed, typing := io.Pipe()
	frames, wire := io.Pipe()
	w := newFrameWriter(wire, configure(t, "lenprefix", `{"width": 1}`, 100))
	defer w.close()
	done := make(chan error, 1)
	go func() {
		in := input{source: typed, lines: true}
		done <- in.encode(t.Context(), w)
		_ = wire.Close()
	}()
	got := make([]byte, 3)
	for _, step := range []struct{ types, want string }{{"ab\nc", "\x02ab"}, {"d\n", "\x02cd"}, {"ef\n\n", "\x02ef"}} {
		if _, err := io.WriteString(typing, step.types); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(frames, got); err != nil || string(got) != step.want {
			t.Fatalf("typed %q: got %q and %v, want %q", step.types, got, err, step.want)
		}
	}
	_ = typing.Close()
	if rest, err := io.ReadAll(frames); string(rest) != "\x00" || err != nil {
		t.Errorf("at the end: got %q and %v, want the empty line", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of an input that is too long, only one byte more than the limit is read.
func TestWholeInputIsBounded(t *testing.T) {
	w := newFrameWriter(io.Discard, configure(t, "escape", "", 10))
	defer w.close()
	source := strings.NewReader(strings.Repeat("x", 1000))
	in := input{source: source}
	err := in.encode(t.Context(), w)
	const want = "payload: frame too long: byte 10: got 78, want a payload of at most 10 bytes"
	if err == nil || err.Error() != want || source.Len() != 1000-11 {
		t.Errorf("got %v with %d bytes left, want %s with %d", err, source.Len(), want, 1000-11)
	}
}

func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	typed, typing := io.Pipe()
	defer typing.Close()
	r := interruptibly(ctx, typed)
	go func() { _, _ = io.WriteString(typing, "hi") }()
	p := make([]byte, 10)
	if n, err := r.Read(p); string(p[:n]) != "hi" || err != nil {
		t.Errorf("got %q and %v", p[:n], err)
	}
	cancel()
	if n, err := r.Read(p); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d bytes and %v, want the interruption", n, err)
	}
}

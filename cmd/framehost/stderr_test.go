package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A gate is a writer that blocks while it is shut, or fails.
type gate struct {
	mu     sync.Mutex
	opened *sync.Cond
	shut   bool
	err    error // the error that Write returns after room bytes
	room   int
	got    bytes.Buffer
}

func newGate(shut bool) *gate {
	g := &gate{shut: shut}
	g.opened = sync.NewCond(&g.mu)
	return g
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.opened.Wait()
	}
	if g.err != nil {
		n := min(g.room, len(p))
		g.got.Write(p[:n])
		g.room -= n
		return n, g.err
	}
	return g.got.Write(p)
}

func (g *gate) set(shut bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.err = shut, err
	g.opened.Broadcast()
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

func missing(lines int) []byte { return fmt.Appendf(nil, "missing: %d\n", lines) }

func TestLineQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		q := newLineQueue(g, missing)
		fmt.Fprint(q, "one\n")
		fmt.Fprint(q, "two\nthree\n")
		q.close(time.Second)
		if got, want := g.String(), "one\ntwo\nthree\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		fmt.Fprint(q, "after the end\n")
		q.close(time.Second)
		if strings.Contains(g.String(), "after") {
			t.Error("a line was written after close")
		}
	})
}

// While standard error is not read, lines are kept up to the bound. The other lines are counted, and a notice before the next line
// that is written has their number.
func TestLineQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(true)
		q := newLineQueue(g, missing)
		fmt.Fprint(q, "first\n")
		synctest.Wait() // the write is under way, and stays so
		line := strings.Repeat("x", 1023) + "\n"
		const lines = 3 * queuedBytes / 1024
		for range lines {
			fmt.Fprint(q, line)
		}
		g.set(false, nil)
		synctest.Wait()
		fmt.Fprint(q, "next\n")
		q.close(time.Second)
		const kept = queuedBytes / 1024
		want := "first\n" + strings.Repeat(line, kept) + fmt.Sprintf("missing: %d\n", lines-kept) + "next\n"
		if got := g.String(); got != want {
			t.Errorf("got %d bytes that end in %q, want %d that end in %q", len(got), got[len(got)-40:], len(want), want[len(want)-40:])
		}
	})
}

// An empty queue accepts a text of any length, such as all errors of a configuration.
func TestLineQueueTakesALongText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		q := newLineQueue(g, missing)
		text := strings.Repeat("wrong\n", queuedBytes)
		fmt.Fprint(q, text)
		q.close(time.Second)
		if got := g.String(); got != text {
			t.Errorf("got %d bytes, want %d", len(got), len(text))
		}
	})
}

// The queue tries a failing writer again with each line: a disk may have room again, or a named pipe another reader.
func TestLineQueueOfAWriterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		q := newLineQueue(g, missing)
		g.room = 2
		g.set(false, errors.New("no space"))
		fmt.Fprint(q, "one\n") // two of these bytes are written
		synctest.Wait()
		fmt.Fprint(q, "two\nthree\n")
		synctest.Wait()
		g.set(false, nil)
		fmt.Fprint(q, "four\n")
		q.close(time.Second)
		if got, want := g.String(), "on\nmissing: 3\nfour\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The end of the process waits no longer than it should, and the last dropped lines are counted too.
func TestLineQueueCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(true)
		q := newLineQueue(g, missing)
		fmt.Fprint(q, "first\n")
		synctest.Wait()
		fmt.Fprint(q, strings.Repeat("x", queuedBytes-1)+"\n")
		fmt.Fprint(q, "dropped\n")
		begun := time.Now()
		q.close(flushPatience)
		if took := time.Since(begun); took != flushPatience {
			t.Errorf("close: took %s, want %s", took, flushPatience)
		}
		g.set(false, nil)
		q.close(flushPatience)
		if got, want := g.String(), "\nmissing: 1\n"; !strings.HasSuffix(got, want) {
			t.Errorf("got %q at the end, want %q", got[len(got)-30:], want)
		}
	})
}

// Many goroutines write at once; with the race detector, this finds unguarded fields. Each line is written or counted.
func TestLineQueueCountsEveryLine(t *testing.T) {
	g := newGate(false)
	q := newLineQueue(g, missing)
	const writers, each = 8, 2000
	line := strings.Repeat("x", 200) + "\n"
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				fmt.Fprint(q, line)
			}
		})
	}
	all.Wait()
	q.close(time.Minute)
	total := 0
	for got := range strings.Lines(g.String()) {
		n := 1
		if _, err := fmt.Sscanf(got, "missing: %d\n", &n); err != nil && got != line {
			t.Fatalf("got the line %q", got)
		}
		total += n
	}
	if total != writers*each {
		t.Errorf("got %d lines written or counted, want %d", total, writers*each)
	}
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A tally counts events of a run. It is safe for concurrent use.
type tally struct {
	frames, bytes, sessions              atomic.Int64
	kills, stops, hiccups, stopsAtStart  atomic.Int64 // of plugin processes
	deadlyPayloads                       atomic.Int64
	reloads, drains, cuts                atomic.Int64
	garbage, unfinished, deaf, resets    atomic.Int64 // neighbors
	corrupt, lost, early, falselyClean   atomic.Int64 // must be 0
	innocents, refused, hung, convicted  atomic.Int64 // must be 0
	bystanders, leftovers, alarms, exits atomic.Int64 // must be 0

	mu         sync.Mutex
	recoveries []time.Duration // after a kill
	resumes    []time.Duration // after a stop, which the host must detect by a timeout
	attacked   []time.Duration // times of bystanders' lines on routes with deadly payloads
	calm       []time.Duration // times of bystanders' lines on routes without deadly payloads, for comparison
	notes      []string        // descriptions of the first errors
	began      time.Time
}

// deaths returns how many plugin processes were ended from outside.
func (t *tally) deaths() int64 { return t.kills.Load() + t.stops.Load() + t.stopsAtStart.Load() }

// wrong adds 1 to count, which must be 0 at the end, and adds a note.
func (t *tally) wrong(count *atomic.Int64, format string, args ...any) {
	count.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) < 40 {
		t.notes = append(t.notes, fmt.Sprintf("%6.2fs ", time.Since(t.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

// took appends d to list, a field of t.
func (t *tally) took(list *[]time.Duration, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*list = append(*list, d)
}

// zeros returns the figures that must be 0.
func (t *tally) zeros() []figure {
	return []figure{
		{"payloads that differ, come twice or out of order", &t.corrupt},
		{"frames lost before a clean end", &t.lost},
		{"streams that got a clean end too early", &t.early},
		{"senders that saw a clean end, though not all they sent arrived", &t.falselyClean},
		{"sessions closed without a reason of their own", &t.innocents},
		{"connects refused", &t.refused},
		{"sessions that hung", &t.hung},
		{"sessions convicted of a plugin's death that came from outside", &t.convicted},
		{"bystanders closed for an attacker's payload", &t.bystanders},
		{"processes and files left after an end", &t.leftovers},
		{"panics and data races", &t.alarms},
		{"ends with the wrong exit code", &t.exits},
	}
}

type figure struct {
	name  string
	count *atomic.Int64
}

// verdict returns an error if a figure that must be 0 is not.
func (t *tally) verdict() error {
	for _, f := range t.zeros() {
		if f.count.Load() != 0 {
			return errors.New("a figure that must be 0 is not")
		}
	}
	return nil
}

func (t *tally) print(w io.Writer, seed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(w, "seed %d, %.0f s\n", seed, time.Since(t.began).Seconds())
	fmt.Fprintf(w, "%d frames, %d MiB, in %d sessions\n", t.frames.Load(), t.bytes.Load()>>20, t.sessions.Load())
	fmt.Fprintf(w, "%d plugin processes died: %d killed, %d stopped, %d stopped as they came up and killed\n",
		t.deaths(), t.kills.Load(), t.stops.Load(), t.stopsAtStart.Load())
	fmt.Fprintf(w, "%d more were stopped for a moment\n", t.hiccups.Load())
	fmt.Fprintf(w, "%d deadly payloads; %d reloads; %d drains, in which %d sessions were cut\n",
		t.deadlyPayloads.Load(), t.reloads.Load(), t.drains.Load(), t.cuts.Load())
	fmt.Fprintf(w, "neighbors: %d with garbage, %d with unfinished frames, %d that never read, %d that reset\n",
		t.garbage.Load(), t.unfinished.Load(), t.deaf.Load(), t.resets.Load())
	fmt.Fprintf(w, "an answer after a kill:  %s\n", quantiles(t.recoveries))
	fmt.Fprintf(w, "an answer after a stop:  %s (timeouts.codec is 1s)\n", quantiles(t.resumes))
	fmt.Fprintf(w, "a line of a bystander of deadly payloads:  %s\n", quantiles(t.attacked))
	fmt.Fprintf(w, "a line where no deadly payloads come:      %s\n", quantiles(t.calm))
	for _, f := range t.zeros() {
		fmt.Fprintf(w, "%6d  %s\n", f.count.Load(), f.name)
	}
	for _, note := range t.notes {
		fmt.Fprintln(w, "  ", note)
	}
}

// quantiles sorts list and returns a description of it.
func quantiles(list []time.Duration) string {
	if len(list) == 0 {
		return "none was measured"
	}
	slices.Sort(list)
	at := func(q float64) time.Duration {
		return list[min(int(q*float64(len(list))), len(list)-1)].Round(time.Millisecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v (%d)", at(0.50), at(0.99), list[len(list)-1].Round(time.Millisecond), len(list))
}

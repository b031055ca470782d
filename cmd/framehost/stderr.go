package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/grpclog"
)

const (
	// queuedBytes bounds the lines that wait; as many again may be in the write under way.
	queuedBytes = 256 << 10
	// flushPatience is how long the process waits at its end for standard error to take the queued lines.
	flushPatience = 2 * time.Second
)

// A standardError takes all messages of the process. Without a queue, Write waits for the reader of standard error. A relay
// must not wait: with a queue, Write always returns at once.
type standardError struct {
	to    io.Writer
	queue atomic.Pointer[lineQueue]
}

func (e *standardError) Write(p []byte) (int, error) {
	if q := e.queue.Load(); q != nil {
		return q.Write(p)
	}
	return e.to.Write(p)
}

// startQueue puts a queue in front of standard error, for the rest of the process. From then on neither standard error
// nor standard output ends the process when its reader closes it.
func (e *standardError) startQueue() {
	// A write to a closed one raises SIGPIPE, which must not end the process. It is caught, not ignored, since the programs
	// that are started would inherit that it is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	e.queue.Store(newLineQueue(e.to, func(lines int) []byte {
		return fmt.Appendf(nil, "framehost: %s (%s)\n", linesDropped, count(lines, "line"))
	}))
}

// setNotice sets the function that makes the line with the number of dropped lines.
func (e *standardError) setNotice(notice func(lines int) []byte) {
	q := e.queue.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notice = notice
}

// linesDropped is the message of lines that standard error did not take.
const linesDropped = "log lines dropped: standard error was not read in time"

// flush waits until standard error has taken what is queued, for at most flushPatience.
func (e *standardError) flush() {
	if q := e.queue.Load(); q != nil {
		q.close(flushPatience)
	}
}

// A lineQueue is a bounded queue of lines in front of a writer that may block or fail. Its Write does neither: lines that do
// not fit, and lines that the writer refuses, are dropped and counted, and a notice in front of the next line that fits has
// the number of lines that are missing. It is safe for concurrent use.
type lineQueue struct {
	to io.Writer

	mu       sync.Mutex // guards what follows
	notice   func(lines int) []byte
	waiting  []byte
	dropped  int // lines since the last notice
	closed   bool
	awake    chan struct{} // has an entry when there is something to do
	finished chan struct{} // closed after the last write
}

// newLineQueue returns a queue in front of to. notice makes the line with the number of lines that are missing.
func newLineQueue(to io.Writer, notice func(lines int) []byte) *lineQueue {
	q := &lineQueue{to: to, notice: notice, awake: make(chan struct{}, 1), finished: make(chan struct{})}
	go q.run()
	return q
}

// Write queues p, which is one or more whole lines, or drops all of it. An empty queue takes a text of any length.
func (q *lineQueue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(p), nil
	}
	if len(q.waiting) > 0 && len(q.waiting)+len(p) > queuedBytes {
		q.dropped += countLines(p)
		return len(p), nil
	}
	q.confess()
	q.waiting = append(q.waiting, p...)
	q.wake()
	return len(p), nil
}

// confess queues the notice of dropped lines, even beyond the bound.
func (q *lineQueue) confess() {
	if q.dropped > 0 {
		q.waiting = append(q.waiting, q.notice(q.dropped)...)
		q.dropped = 0
	}
}

func (q *lineQueue) wake() {
	select {
	case q.awake <- struct{}{}:
	default:
	}
}

// run writes the waiting lines, all of them in one write, until the queue is closed and empty.
func (q *lineQueue) run() {
	defer close(q.finished)
	var batch []byte
	cut := false // the last write ended within a line
	for range q.awake {
		for {
			q.mu.Lock()
			batch, q.waiting = q.waiting, batch[:0]
			closed := q.closed
			q.mu.Unlock()
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			if cut {
				_, err := q.to.Write([]byte("\n"))
				cut = err != nil
			}
			n, err := q.to.Write(batch)
			if n > 0 {
				cut = batch[n-1] != '\n'
			}
			if err != nil {
				q.mu.Lock()
				q.dropped += countLines(batch[n:])
				q.mu.Unlock()
			}
			if cap(batch) > 2*queuedBytes {
				batch = nil // after a text of unusual length
			}
		}
	}
}

// close waits until the queued lines were written, for at most patience. Lines that Write gets from now on are dropped.
func (q *lineQueue) close(patience time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.confess()
		q.closed = true
		q.wake()
	}
	q.mu.Unlock()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-q.finished:
	case <-limit.C:
	}
}

// countLines returns the number of lines of p; an unfinished one counts.
func countLines(p []byte) int {
	n := bytes.Count(p, []byte("\n"))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return n
}

// redirectLibraries redirects to l the logs of libraries that write to standard error (package log, gRPC, go-plugin).
func redirectLibraries(l hclog.Logger) {
	hclog.SetDefault(l)
	w := l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn})
	log.SetOutput(w)
	log.SetFlags(0)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, w))
}

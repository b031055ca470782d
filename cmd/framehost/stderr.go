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
	// queuedBytes limits the bytes of the lines that wait. As many again may be in the write under way.
	queuedBytes = 256 << 10
	// flushPatience is how long the process waits at its end for the queued lines to be written to standard error.
	flushPatience = 2 * time.Second
)

// A standardError writes all messages of the process to standard error. Without a queue, Write waits for the reader of standard error. A
// relay must not wait: with a queue, Write always returns at once.
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

// startQueue starts to queue all messages, for the rest of the process. From then on, the process does not end when the reader of standard
// error or standard output closes it.
func (e *standardError) startQueue() {
	// A write to a closed pipe raises SIGPIPE, which must not end the process. The signal is caught and not ignored, since child
	// processes inherit ignored signals.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	e.queue.Store(newLineQueue(e.to, func(lines int) []byte {
		return fmt.Appendf(nil, "framehost: %s (%s)\n", linesDropped, count(lines, "line"))
	}))
}

// setNotice sets the function that formats the line with the number of dropped lines.
func (e *standardError) setNotice(notice func(lines int) []byte) {
	q := e.queue.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notice = notice
}

// linesDropped is the message about lines that could not be written to standard error.
const linesDropped = "log lines dropped: standard error was not read in time"

// flush waits until the queued lines were written to standard error, for at most flushPatience.
func (e *standardError) flush() {
	if q := e.queue.Load(); q != nil {
		q.close(flushPatience)
	}
}

// A lineQueue is a bounded queue of lines for a writer that may block or fail. Its own Write neither blocks nor fails: lines that do not
// fit, and lines that the writer refuses, are dropped and counted. Before the next line that fits, the queue adds a notice with the
// number of dropped lines. A lineQueue is safe for concurrent use.
type lineQueue struct {
	to io.Writer

	mu       sync.Mutex // guards notice, waiting, dropped and closed
	notice   func(lines int) []byte
	waiting  []byte
	dropped  int // lines dropped since the last notice
	closed   bool
	awake    chan struct{} // gets a token when there are lines to write or the queue closes
	finished chan struct{} // closed after the last write
}

// newLineQueue returns a queue of lines for to. notice formats the line with the number of dropped lines.
func newLineQueue(to io.Writer, notice func(lines int) []byte) *lineQueue {
	q := &lineQueue{to: to, notice: notice, awake: make(chan struct{}, 1), finished: make(chan struct{})}
	go q.run()
	return q
}

// Write queues p, which must be one or more whole lines, or drops all of p. An empty queue accepts a text of any length.
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
	q.queueNotice()
	q.waiting = append(q.waiting, p...)
	q.wake()
	return len(p), nil
}

// queueNotice queues the notice about dropped lines, even beyond queuedBytes. The caller holds q.mu.
func (q *lineQueue) queueNotice() {
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
	cut := false // the last write ended inside a line
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
				batch = nil // releases the memory of an unusually long text
			}
		}
	}
}

// close waits until the queued lines were written, for at most patience. Lines that are passed to Write after that are dropped.
func (q *lineQueue) close(patience time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.queueNotice()
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

// countLines returns the number of lines in p, including an unfinished line.
func countLines(p []byte) int {
	n := bytes.Count(p, []byte("\n"))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return n
}

// redirectLibraries redirects the logs of libraries that write to standard error (package log, gRPC, go-plugin) to l.
func redirectLibraries(l hclog.Logger) {
	hclog.SetDefault(l)
	w := l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn})
	log.SetOutput(w)
	log.SetFlags(0)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, w))
}

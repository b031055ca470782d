// Package loglimit limits log lines that peers could otherwise cause as fast as they connect or send.
package loglimit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Burst is how many lines of one Limiter are written at once, and Pause the time for each further line in the long run.
const (
	Burst = 10
	Pause = time.Second
)

// A Limiter limits the lines about one kind of event. The next line that is written, or a line of its own after Pause, says how
// many lines were held back. The zero value is ready to use; a Limiter is safe for concurrent use.
type Limiter struct {
	mu       sync.Mutex
	limiter  *rate.Limiter // nil: allow has not been called yet
	heldBack int           // lines since the last one that was written
	timer    *time.Timer   // calls Flush; nil: no line is held back
	write    func(message string, fields ...any)
	message  string
}

// Log writes a line with write, such as a logger's Warn, unless it is held back.
func (l *Limiter) Log(write func(message string, fields ...any), message string, fields ...any) {
	l.LogWith(write, message, func() []any { return fields })
}

// LogWith is like Log, for fields that take time to make: it calls fields only for a line that is written.
func (l *Limiter) LogWith(write func(message string, fields ...any), message string, fields func() []any) {
	heldBack, ok := l.allow()
	if !ok {
		l.flushLater(write, message)
		return
	}
	write(message, withHeldBack(fields(), heldBack)...)
}

// allow reports whether a line may be written now, and if so, how many lines were held back since the last one.
func (l *Limiter) allow() (heldBack int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limiter == nil {
		l.limiter = rate.NewLimiter(rate.Every(Pause), Burst)
	}
	if !l.limiter.Allow() {
		l.heldBack++
		return 0, false
	}
	heldBack, l.heldBack = l.heldBack, 0
	return heldBack, true
}

// flushLater calls Flush after Pause, to write with write. It does nothing if a call is already due.
func (l *Limiter) flushLater(write func(message string, fields ...any), message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.write, l.message = write, message
		l.timer = time.AfterFunc(Pause, l.Flush)
	}
}

// Flush logs how many lines were held back since the last one, if any were.
func (l *Limiter) Flush() {
	l.mu.Lock()
	heldBack, write, message := l.heldBack, l.write, l.message
	l.heldBack = 0
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if heldBack > 0 {
		l.limiter.Reserve() // this line counts against the limit too
	}
	l.mu.Unlock()
	if heldBack > 0 {
		write(message, withHeldBack(nil, heldBack)...)
	}
}

// withHeldBack adds the number of lines that were held back to fields, unless it is 0.
func withHeldBack(fields []any, heldBack int) []any {
	if heldBack == 0 {
		return fields
	}
	return append(fields, "more_since_the_last_line", heldBack)
}

package host

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one kind of event that peers cause is logged: so many lines at once, and one a pause in the long run.
const (
	linesAtOnce = 10
	linesPause  = time.Second
)

// A logLimiter holds back log lines that peers could otherwise have written as fast as they send. The next line, or one by itself
// after a pause, says how many were held back. Its zero value is ready for use. It is safe for concurrent use.
type logLimiter struct {
	mu       sync.Mutex
	limiter  *rate.Limiter // nil: no line was asked for yet
	heldBack int
	timer    *time.Timer // logs how many were held back; nil: none was
	write    func(message string, fields ...any)
	message  string
}

// log writes a line with write, such as a logger's Warn, unless it is held back.
func (l *logLimiter) log(write func(message string, fields ...any), message string, fields ...any) {
	l.logWith(write, message, func() []any { return fields })
}

// logWith is log for fields that cost something: fields is called for a line that is written.
func (l *logLimiter) logWith(write func(message string, fields ...any), message string, fields func() []any) {
	heldBack, ok := l.allow()
	if !ok {
		l.flushLater(write, message)
		return
	}
	all := fields()
	if heldBack > 0 {
		all = append(all, "more_since_the_last_line", heldBack)
	}
	write(message, all...)
}

// allow reports whether a line may be written now, and if so how many were held back since the last one.
func (l *logLimiter) allow() (heldBack int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limiter == nil {
		l.limiter = rate.NewLimiter(rate.Every(linesPause), linesAtOnce)
	}
	if !l.limiter.Allow() {
		l.heldBack++
		return 0, false
	}
	heldBack, l.heldBack = l.heldBack, 0
	return heldBack, true
}

// flushLater calls flush after a pause.
func (l *logLimiter) flushLater(write func(message string, fields ...any), message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.write, l.message = write, message
		l.timer = time.AfterFunc(linesPause, l.flush)
	}
}

// flush logs how many lines were held back since the last one, if any were.
func (l *logLimiter) flush() {
	l.mu.Lock()
	heldBack, write, message := l.heldBack, l.write, l.message
	l.heldBack = 0
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if heldBack > 0 {
		l.limiter.Reserve() // this line is one of those that are allowed
	}
	l.mu.Unlock()
	if heldBack > 0 {
		write(message, "more_since_the_last_line", heldBack)
	}
}

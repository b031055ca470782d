package loglimit

import (
	"sync"

	"github.com/hashicorp/go-hclog"
)

// A ByReason limits log lines that have a reason: each message with each reason on its own, so that many lines of one kind hide none
// of another kind. The zero value is ready to use; a ByReason is safe for concurrent use.
type ByReason struct {
	mu    sync.Mutex
	lines map[kind]*Limiter
}

type kind struct{ message, reason string }

// of returns the limiter for lines with this message and reason.
func (b *ByReason) of(message, reason string) *Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines == nil {
		b.lines = map[kind]*Limiter{}
	}
	l := b.lines[kind{message, reason}]
	if l == nil {
		l = &Limiter{}
		b.lines[kind{message, reason}] = l
	}
	return l
}

// Log writes a line to log at level, unless the limit holds it back. The next line of the kind then says how many were held back;
// without one, a line to later says so after Pause. later is the logger of something that outlives log.
func (b *ByReason) Log(later, log hclog.Logger, level hclog.Level, message, reason string, fields []any) {
	l := b.of(message, reason)
	if heldBack, ok := l.allow(); ok {
		log.Log(level, message, withHeldBack(fields, heldBack)...)
		return
	}
	l.flushLater(func(message string, fields ...any) { later.Log(level, message, append(fields, "reason", reason)...) }, message)
}

// Flush logs how many lines were held back, for each kind that has any.
func (b *ByReason) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		l.Flush()
	}
}

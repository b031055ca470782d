package loglimit

import (
	"sync"

	"github.com/hashicorp/go-hclog"
)

// A ByReason limits log lines that have a reason: each message with each reason on its own, so that many lines of one kind hide none
// of another kind. The zero value is ready to use; a ByReason is safe for concurrent use.
type ByReason struct {
	mu    sync.Mutex
	lines map[string]*Limiter
}

// of returns the limiter for lines with this message and reason.
func (b *ByReason) of(message, reason string) *Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines == nil {
		b.lines = map[string]*Limiter{}
	}
	s := b.lines[message+reason]
	if s == nil {
		s = &Limiter{}
		b.lines[message+reason] = s
	}
	return s
}

// Log writes a line to log at level, unless the limit holds it back. Then the next line says how many were held back, or a
// line of its own in route does so after a pause.
func (b *ByReason) Log(route, log hclog.Logger, level hclog.Level, message, reason string, fields []any) {
	s := b.of(message, reason)
	heldBack, ok := s.allow()
	if !ok {
		s.flushLater(func(message string, fields ...any) { route.Log(level, message, append(fields, "reason", reason)...) }, message)
		return
	}
	if heldBack > 0 {
		fields = append(fields, "more_since_the_last_line", heldBack)
	}
	log.Log(level, message, fields...)
}

// Flush logs how many lines were held back, for each kind that has any.
func (b *ByReason) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.lines {
		s.Flush()
	}
}

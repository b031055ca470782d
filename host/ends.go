package host

import (
	"sync"

	"github.com/hashicorp/go-hclog"
)

// ends limits the log lines about sessions and members that ended, because peers can cause one for each connection that they
// make. Each message with each reason is limited on its own, so that many lines of one kind hide none of another kind. The
// zero value is ready to use; ends is safe for concurrent use.
type ends struct {
	mu    sync.Mutex
	lines map[string]*logLimiter
}

// of returns the limiter for lines with this message and reason.
func (e *ends) of(message, reason string) *logLimiter {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lines == nil {
		e.lines = map[string]*logLimiter{}
	}
	s := e.lines[message+reason]
	if s == nil {
		s = &logLimiter{}
		e.lines[message+reason] = s
	}
	return s
}

// log writes a line to log at level, unless the limit holds it back. Then the next line says how many were held back, or a
// line of its own in route does so after a pause.
func (e *ends) log(route, log hclog.Logger, level hclog.Level, message, reason string, fields []any) {
	s := e.of(message, reason)
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

// flush logs how many lines were held back, for each kind that has any.
func (e *ends) flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.lines {
		s.flush()
	}
}

package host

import (
	"sync"
	"time"
)

// How often something that peers bring about is logged: so many lines at once, and one a pause in the long run.
const (
	linesAtOnce = 10
	linesPause  = time.Second
)

// A sometimes holds back log lines that peers could otherwise have written as fast as they send. How many were held back is
// part of the next line, or is logged by itself after a pause without one. Its zero value is ready. It is safe for
// concurrent use.
type sometimes struct {
	mu      sync.Mutex
	spent   time.Time // before now by a pause for each line that may be written at once
	leftOut int
	timer   *time.Timer // logs what was left out; nil: nothing was
	write   func(message string, fields ...any)
	message string
}

// log writes a line with write, such as a logger's Warn, unless it is held back.
func (s *sometimes) log(write func(message string, fields ...any), message string, fields ...any) {
	s.logWith(write, message, func() []any { return fields })
}

// logWith is log for fields that cost something: fields is called for a line that is written.
func (s *sometimes) logWith(write func(message string, fields ...any), message string, fields func() []any) {
	leftOut, ok := s.now()
	if !ok {
		s.later(write, message)
		return
	}
	all := fields()
	if leftOut > 0 {
		all = append(all, "more_since_the_last_line", leftOut)
	}
	write(message, all...)
}

// now reports whether a line may be written, and if so how many were held back since the last one.
func (s *sometimes) now() (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if full := now.Add(-linesAtOnce * linesPause); s.spent.Before(full) {
		s.spent = full
	}
	if now.Sub(s.spent) < linesPause {
		s.leftOut++
		return 0, false
	}
	s.spent = s.spent.Add(linesPause)
	leftOut, s.leftOut = s.leftOut, 0
	return leftOut, true
}

// later has what was held back logged after a pause.
func (s *sometimes) later(write func(message string, fields ...any), message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		s.write, s.message = write, message
		s.timer = time.AfterFunc(linesPause, s.flush)
	}
}

// flush logs how many lines were held back since the last one, if any were.
func (s *sometimes) flush() {
	s.mu.Lock()
	leftOut, write, message := s.leftOut, s.write, s.message
	s.leftOut = 0
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if leftOut > 0 {
		s.spent = s.spent.Add(linesPause)
	}
	s.mu.Unlock()
	if leftOut > 0 {
		write(message, "more_since_the_last_line", leftOut)
	}
}

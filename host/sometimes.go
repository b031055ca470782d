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

// A sometimes holds back log lines that peers could otherwise have written as fast as they send. Its zero value is
// ready. It is safe for concurrent use.
type sometimes struct {
	mu      sync.Mutex
	spent   time.Time // before now by a pause for each line that may be written at once
	leftOut int
}

// log writes a line with write, such as a logger's Warn, unless it is held back.
func (s *sometimes) log(write func(message string, fields ...any), message string, fields ...any) {
	leftOut, ok := s.now()
	if !ok {
		return
	}
	if leftOut > 0 {
		fields = append(fields, "more_since_the_last_line", leftOut)
	}
	write(message, fields...)
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

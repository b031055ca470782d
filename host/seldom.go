package host

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/relay"
)

// seldom logs what anybody on a network can cause as often as they like: at once, but each message only once a second,
// with how many were left out. Its zero value is ready; it is safe for concurrent use.
type seldom struct {
	mu   sync.Mutex
	last map[string]*said
}

type said struct {
	at   time.Time
	more int // since then
}

const saidEvery = time.Second

func (s *seldom) warn(log hclog.Logger, message string, fields ...any) {
	if more, ok := s.may(message); ok {
		if more > 0 {
			fields = append(fields, "not_logged", more)
		}
		log.Warn(message, fields...)
	}
}

// may reports whether message may be logged now, and how many of its kind were not since it was.
func (s *seldom) may(message string) (more int, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.last[message]
	if one == nil {
		if s.last == nil {
			s.last = map[string]*said{}
		}
		s.last[message] = &said{at: now}
		return 0, true
	}
	if now.Sub(one.at) < saidEvery {
		one.more++
		return 0, false
	}
	more = one.more
	*one = said{at: now}
	return more, true
}

// datagramViolations reports the violations of a member that no violation ends.
func datagramViolations(log hclog.Logger) func(relay.Violation) {
	seldom := &seldom{}
	return func(v relay.Violation) {
		fields := append([]any{"direction", v.Direction.String()}, violationFields(&v, "", "")...)
		if v.Source.IsValid() {
			fields = append(fields, "source", v.Source)
		}
		seldom.warn(log, "violation in a datagram", fields...)
	}
}

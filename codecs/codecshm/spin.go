//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A spinner waits for a word of memory to change without going to sleep, as long as that is likely to be cheaper.
//
// Waking a processor that has gone to sleep takes several times as long as all the rest of a short call, and even longer in
// a virtual machine. So a spinner keeps its processor awake, but it lets every other thread run first: it yields between
// checks. If a yield shows that other threads use the processor, the spinner gives up at once, because then the processor
// does not sleep and waking is cheap. It also gives up if the wait usually takes longer than a sleep costs: the lengths of
// the last sleeps determine how long it tries.
type spinner struct {
	budget time.Duration
}

const (
	firstSpin = 10 * time.Microsecond
	maxSpin   = 100 * time.Microsecond // about the cost of a sleep: waking a processor twice
	// busyYield is the least duration of a yield that shows that other threads ran meanwhile, and not only another spinner.
	busyYield = 20 * time.Microsecond
	// maxYields limits the work of a spinner if the clock stands still.
	maxYields = 1000
)

var spinOrigin = time.Now()

// until waits for word to become v, if same, or to differ from v, if not. It returns true if that has happened, and false
// if it is better to sleep.
func (s *spinner) until(word *atomic.Uint64, v uint64, same bool) bool {
	if s.budget == 0 {
		return (word.Load() == v) == same
	}
	begin := time.Since(spinOrigin)
	last := begin
	for range maxYields {
		for range 8 {
			if (word.Load() == v) == same {
				return true
			}
		}
		_, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		now := time.Since(spinOrigin)
		if now-last > busyYield || now-begin > s.budget {
			break
		}
		last = now
	}
	return (word.Load() == v) == same
}

// slept records the duration of a sleep that followed until.
func (s *spinner) slept(d time.Duration) {
	switch {
	case d < maxSpin:
		s.budget = min(max(2*s.budget, firstSpin), maxSpin)
	case s.budget > firstSpin:
		s.budget /= 2
	default:
		s.budget = 0
	}
}

//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A spinner waits for a word of memory to change without going to sleep, as long as that is likely to pay.
//
// To wake a processor that has gone to sleep takes several times as long as all the rest of a short call, and longer yet
// in a virtual machine. So a spinner keeps its processor awake, but lets everybody else run first: it yields between any two
// looks. When a yield shows that others use the processor, it gives up at once, for then nothing has gone to sleep and
// waking is cheap. It also gives up when what it waits for usually takes longer than a sleep costs: how long
// it tries follows from how long the last sleeps were.
type spinner struct {
	budget time.Duration
}

const (
	firstSpin = 10 * time.Microsecond
	maxSpin   = 100 * time.Microsecond // about what a sleep costs: two wakings of a processor
	// busyYield is what a yield takes at least when others run meanwhile, for more than the blink that another spinner does.
	busyYield = 20 * time.Microsecond
	// maxYields bounds what a spinner does where the clock stands still.
	maxYields = 1000
)

var spinOrigin = time.Now()

// until returns true when word has become v, if same, or something else than v, if not. It is false when it is better to sleep.
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

// slept tells how long a sleep was that followed.
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

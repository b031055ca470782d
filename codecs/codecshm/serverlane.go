//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A serverLane answers the calls of a lane. One worker at a time owns the lane: it takes a call, runs it, and takes the next.
// A worker that is stuck in a slow call loses the lane to another worker, so that the call delays only its own session.
type serverLane struct {
	server  *server
	control *laneControl
	state   *laneState
	bell    int // read end of the pipe that wakes this lane
	signal  int // write end of the pipe that wakes the host

	// owner is twice the number of the worker that owns the lane, plus one while that worker runs a call. To take the lane
	// away, watchSlowCalls changes the number while it is odd. A worker that finds it changed has lost the lane.
	owner      atomic.Uint64
	taken      atomic.Uint64 // calls taken off the ring; only the owner changes it
	watching   atomic.Bool   // watchSlowCalls runs
	signals    uint32        // the value of parked for which the signal was given; only the owner uses it and the next two fields
	unsignaled int           // answers since then
	spinner    spinner
}

// goOn starts the worker that owns the lane as long as owner is me.
func (l *serverLane) goOn(me uint64) {
	s := l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.workers++
	go func() {
		l.work(me)
		s.mu.Lock()
		s.workers--
		s.mu.Unlock()
		s.added.Broadcast()
	}()
}

// work runs calls as the worker that owns the lane, as long as owner is me and the host has not closed the lane.
func (l *serverLane) work(me uint64) {
	debug.SetPanicOnFault(true) // a codec that writes into its input panics instead of killing the process
	var w worker
	for {
		taken := l.taken.Load()
		if l.control.head.Load() == taken {
			l.signalHost()
			// The goroutine waits for the bell in a system call. On a thread of its own this costs the scheduler nothing. It
			// releases the thread afterwards: a slow call must not occupy one.
			runtime.LockOSThread()
			rung := l.nap(taken)
			runtime.UnlockOSThread()
			if !rung {
				return
			}
			continue
		}
		slot := l.control.ring[taken%slotCount] % slotCount
		if l.control.calls[slot].wire.length > quickCall {
			l.signalHost()
		}
		l.taken.Store(taken + 1)
		l.owner.Swap(me + 1)
		if !l.watching.Load() && !l.watching.Swap(true) {
			go l.watchSlowCalls()
		}
		attempt := w.run(l, slot)
		mine := l.owner.CompareAndSwap(me+1, me)
		l.state.answers[slot].attempt.Swap(attempt)
		if !mine {
			if l.control.parked.Load() != 0 {
				writeByte(l.signal)
			}
			return
		}
		if l.unsignaled++; l.unsignaled == maxUnsignaled {
			l.signalHost()
		}
	}
}

// maxUnsignaled is the number of answers after which the host is woken to read them. While there are more calls to run, waking
// it for each answer would cost more than it gains.
const maxUnsignaled = 32

// signalHost wakes the host if it sleeps and there are answers for it.
func (l *serverLane) signalHost() {
	if l.unsignaled == 0 {
		return
	}
	l.unsignaled = 0
	if parked := l.control.parked.Load(); parked != 0 && parked != l.signals {
		l.signals = parked
		writeByte(l.signal)
	}
}

// nap waits for the bell. It returns false if the host has closed the bell.
//
// Each read of the pipe is a nap of its own. The host may check the flag long after it published a call, when the call was
// already answered and the next nap has begun. It then rings the bell without need, and records that it has rung for this
// nap.
func (l *serverLane) nap(taken uint64) bool {
	if l.spinner.until(&l.control.head, taken, false) {
		return true
	}
	began := time.Now()
	for {
		l.state.nap.Add(1)
		if l.control.head.Load() != taken {
			l.state.nap.Add(1)
			break
		}
		rung := true
		if time.Since(began) < lightNap && runtime.GOMAXPROCS(0) >= laneCount {
			rung = l.doze()
		}
		if rung && !l.sleep() {
			return false
		}
		l.state.nap.Add(1)
		if l.control.head.Load() != taken {
			break
		}
	}
	l.spinner.slept(time.Since(began))
	return true
}

// lightNap is how long a nap goes unnoticed by the runtime. If the runtime noticed it, it would wake other threads to take
// over this thread's work each time that a lane has nothing to do for a moment. In return, the runtime may have to wait
// that long for this goroutine.
const lightNap = time.Millisecond

// doze waits up to lightNap for the bell, and reports whether it was rung.
func (l *serverLane) doze() (rung bool) {
	fds := [1]unix.PollFd{{Fd: int32(l.bell), Events: unix.POLLIN}}
	timeout := unix.NsecToTimespec(int64(lightNap))
	n, _, _ := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
	return n == 1
}

// sleep waits for the bell without a limit. It returns false if the host has closed the bell.
func (l *serverLane) sleep() bool {
	var b [256]byte
	n, err := unix.Read(l.bell, b[:])
	if err != nil && err != unix.EINTR {
		time.Sleep(time.Millisecond) // never seen; the host will end the process
	}
	return n != 0 || err != nil
}

// maxHold is how long a call may hold a lane. For strictTicks ticks after a call has held a lane for too long, the limit is
// strictMaxHold.
const (
	maxHold       = 10 * time.Millisecond
	strictMaxHold = time.Millisecond
	strictTicks   = 1000
)

// watchSlowCalls gives the lane to another worker when a call has held it for too long. It returns when the lane is idle.
func (l *serverLane) watchSlowCalls() {
	tick := time.NewTicker(maxHold)
	defer tick.Stop()
	last, quiet, strict := l.taken.Load(), 0, 0
	for range tick.C {
		if strict > 0 {
			if strict--; strict == 0 {
				tick.Reset(maxHold)
			}
		}
		owner, taken := l.owner.Load(), l.taken.Load()
		switch {
		case taken != last:
			last, quiet = taken, 0
		case owner%2 == 1:
			next := owner + 1 // even, and no worker has had it
			if l.owner.CompareAndSwap(owner, next) {
				l.goOn(next)
				strict = strictTicks
				tick.Reset(strictMaxHold)
			}
		case quiet < 10:
			quiet++
		default:
			l.watching.Swap(false)
			if l.owner.Load()%2 == 0 || l.watching.Swap(true) {
				return // a call that begins now finds watching false, and starts watchSlowCalls again
			}
		}
	}
}

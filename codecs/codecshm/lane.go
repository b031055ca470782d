//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A lane is a ring of calls that any number of directions share.
//
// # Why nothing is missed
//
// Two flags say that somebody sleeps: nap, which the plugin writes, and parked, which the host writes. Whoever goes to
// sleep sets the flag first and then looks for work once more; whoever makes work publishes it first and then looks at
// the flag. All four are operations of sync/atomic, which are sequentially consistent, also between two processes that
// map the same memory, since they are single instructions on it. So at least one of the two sees what the other did: either
// the sleeper finds the work, or the maker sees the flag and writes to a pipe, which stays readable until it is read.
// (They are exchanges where a load follows that must not come first, never a Store: with the race detector that orders
// what was before it only.) Each flag counts, so that a pipe is written to once for each sleep rather than once for each call.
//
// What a call or an answer says is written with plain stores before the atomic store that publishes it (head, and the
// attempt of an answer) and read after the atomic load that saw it. The slots and the memory of a call are touched by one
// side at a time: the host until it publishes the call, the plugin until it publishes the answer. A plugin that breaks
// this changes what it said itself, and the host has copied what it decides on: only bytes of payloads and wire are used
// where they lie.
type lane struct {
	plane   *Plane
	control *laneControl
	state   *laneState
	bell    int      // the end of a pipe whose other end wakes the plugin
	signal  *os.File // the end of a pipe that wakes listen
	timeout time.Duration

	mu      sync.Mutex
	idle    sync.Cond // nothing is under way any more
	freed   sync.Cond // a slot is free
	free    []uint32  // slots
	active  int       // calls that have a slot
	attempt uint64    // of the last call
	rung    uint32    // the nap that the bell was rung for
	naps    uint32    // how often the host asked for the signal
	parked  []*call   // that wait for the signal
	watch   *time.Timer
	watched bool // the watch is set
	failed  bool
}

// A call is one call of a direction at a time.
type call struct {
	callSlot // what is said of it, but for the state

	state []byte
	quick bool // it is likely to be answered in less than it takes to park
	alone bool // nothing else was under way on the lane when it was submitted
	slot  uint32

	spinner  spinner
	parkedAt time.Time
	index    int // in lane.parked
	wake     chan error

	// The answer.
	answer answerHead
	after  []byte // state
	text   string
	skips  []faultEntry // that the answer has in place, while they are read
	wants  []string     // likewise
}

// begin makes the lane's pipes. It returns the plugin's ends, which the caller closes, also when it fails. Pipes are better
// than eventfds here, because the ends of a pipe are files of their own: what a plugin does to the flags of its end leaves
// the host's as it is.
func (l *lane) begin(p *Plane, control *laneControl, state *laneState) (theirs []int, err error) {
	var bell, signal [2]int
	if err := unix.Pipe2(bell[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	theirs, l.bell = append(theirs, bell[0]), bell[1]
	if err := unix.Pipe2(signal[:], unix.O_CLOEXEC); err != nil {
		return theirs, errors.Join(fmt.Errorf("pipe: %w", err), unix.Close(l.bell))
	}
	theirs = append(theirs, signal[1])
	if err := errors.Join(unix.SetNonblock(l.bell, true), unix.SetNonblock(signal[0], true)); err != nil {
		return theirs, errors.Join(err, unix.Close(l.bell), unix.Close(signal[0]))
	}
	l.signal = os.NewFile(uintptr(signal[0]), "signal")
	l.plane, l.control, l.state = p, control, state
	l.free = make([]uint32, slotCount)
	for i := range l.free {
		l.free[i] = uint32(slotCount - 1 - i)
	}
	l.watch = time.AfterFunc(time.Hour, l.look)
	l.watch.Stop()
	return theirs, nil
}

// do makes c and waits for its answer, which is in c then, but for what lies in places. An error is
// codeccall.ErrGone or ErrOverdue.
func (l *lane) do(c *call) error {
	if err := l.submit(c); err != nil {
		return err
	}
	err := l.wait(c)
	if err == nil {
		l.copyAnswer(c)
	} else {
		err = l.ifBegun(c, err)
	}
	l.mu.Lock()
	l.free = append(l.free, c.slot)
	l.active--
	l.freed.Signal() // one: where thousands wait, waking them all for each slot leaves no time for anything else
	if l.active == 0 {
		l.idle.Broadcast()
	}
	l.mu.Unlock()
	return err
}

func (l *lane) submit(c *call) error {
	l.mu.Lock()
	for len(l.free) == 0 && !l.failed {
		l.freed.Wait()
	}
	if l.failed {
		l.mu.Unlock()
		return errGoneBefore
	}
	c.slot = l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.active++
	c.alone = l.active == 1
	l.attempt++ // 64 bits never come round to the attempt of an old answer, nor to 0, which a slot has that was never answered
	c.attempt = l.attempt
	s := &l.control.calls[c.slot]
	s.attempt, s.kind, s.codec, s.eof = c.attempt, c.kind, c.codec, c.eof
	s.wire, s.refs, s.entries, s.data, s.faults, s.examined = c.wire, c.refs, c.entries, c.data, c.faults, c.examined
	s.stateLen = uint32(copy(s.state[:], c.state))
	head := l.control.head.Load()
	l.control.ring[head%slotCount] = c.slot
	l.control.head.Swap(head + 1)
	nap := l.state.nap.Load()
	ring := nap%2 == 1 && nap != l.rung
	l.rung = nap
	l.mu.Unlock()
	if ring {
		writeByte(l.bell)
	}
	return nil
}

// Errors of calls that the plugin had not taken up. It may say so of one that it had, which harms other calls of its own.
var (
	errGoneBefore    = fmt.Errorf("%w; %w", codeccall.ErrGone, codeccall.ErrNotBegun)
	errOverdueBefore = fmt.Errorf("%w; %w", codeccall.ErrOverdue, codeccall.ErrNotBegun)
)

// ifBegun returns err, with which c ended, and adds that the plugin had not taken up the call, where it had not.
func (l *lane) ifBegun(c *call, err error) error {
	switch {
	case l.state.answers[c.slot].begun.Load() == c.attempt:
		return err
	case err == codeccall.ErrOverdue:
		return errOverdueBefore
	default:
		return errGoneBefore
	}
}

// writeByte writes a byte to a pipe, which wakes the reader. It doesn't wait: a pipe that is full wakes just as well.
func writeByte(pipe int) {
	var one [1]byte
	// The runtime need not be told of a system call that doesn't block.
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&one[0])), 1)
}

// wait returns when c was answered, or can't be any more.
func (l *lane) wait(c *call) error {
	answered := &l.state.answers[c.slot].attempt
	spins := c.quick && c.alone // otherwise others have use for the processor
	if spins && c.spinner.until(answered, c.attempt, true) {
		return nil
	}
	if answered.Load() == c.attempt || l.park(c, answered) {
		return nil
	}
	err := <-c.wake
	if spins {
		c.spinner.slept(time.Since(c.parkedAt))
	}
	return err
}

// park makes c one of those that listen wakes. It is true when that is not necessary any more.
func (l *lane) park(c *call, answered *atomic.Uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		c.wake <- codeccall.ErrGone
		return false
	}
	if len(l.parked) == 0 {
		l.askForSignal()
	}
	if answered.Load() == c.attempt {
		if len(l.parked) == 0 {
			l.control.parked.Store(0)
		}
		return true
	}
	c.index = len(l.parked)
	l.parked = append(l.parked, c)
	c.parkedAt = time.Now()
	if l.timeout > 0 && !l.watched {
		l.watched = true
		l.watch.Reset(l.timeout)
	}
	return false
}

func (l *lane) askForSignal() {
	if l.naps++; l.naps == 0 {
		l.naps++
	}
	l.control.parked.Swap(l.naps)
}

// unpark ends the wait of a parked call.
func (l *lane) unpark(c *call, err error) {
	last := len(l.parked) - 1
	l.parked[c.index] = l.parked[last]
	l.parked[c.index].index = c.index
	l.parked[last] = nil
	l.parked = l.parked[:last]
	c.wake <- err
}

// errLetGo says that nobody can wake the host any more: the process has ended, or will not do what it is for.
var errLetGo = errors.New("the process has let go of what it shared")

// listen wakes parked calls that were answered, until the lane is closed.
func (l *lane) listen() {
	var b [256]byte
	for {
		if _, err := l.signal.Read(b[:]); err != nil {
			if err == io.EOF {
				l.plane.endCalls(errLetGo)
			}
			return
		}
		l.mu.Lock()
		for l.wakeAnswered(); len(l.parked) > 0; {
			l.askForSignal()
			if !l.wakeAnswered() {
				break
			}
		}
		if len(l.parked) == 0 {
			l.control.parked.Store(0)
		}
		l.mu.Unlock()
	}
}

// wakeAnswered wakes those parked that were answered, and reports whether there were any.
func (l *lane) wakeAnswered() (found bool) {
	for i := 0; i < len(l.parked); {
		c := l.parked[i]
		if l.state.answers[c.slot].attempt.Load() != c.attempt {
			i++
			continue
		}
		l.unpark(c, nil)
		found = true
	}
	return found
}

// look is the watch's: it fails the plane if a call is overdue.
func (l *lane) look() {
	l.mu.Lock()
	l.wakeAnswered() // what was answered is not overdue, though this process was held up and has not seen it yet
	wait := time.Duration(-1)
	for _, c := range l.parked {
		left := l.timeout - time.Since(c.parkedAt)
		if wait < 0 || left < wait {
			wait = max(left, 0)
		}
	}
	overdue := wait == 0 && !l.failed
	if l.watched = wait > 0 && !l.failed; l.watched {
		l.watch.Reset(wait)
	}
	l.mu.Unlock()
	if overdue {
		l.plane.endCalls(codeccall.ErrOverdue)
	}
}

// endCalls ends all calls.
func (l *lane) endCalls() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = true
	for len(l.parked) > 0 {
		c, err := l.parked[len(l.parked)-1], codeccall.ErrGone
		if l.timeout > 0 && time.Since(c.parkedAt) >= l.timeout {
			err = codeccall.ErrOverdue
		}
		l.unpark(c, err)
	}
	l.idle.Broadcast()
	l.freed.Broadcast()
}

// close ends listen. It returns when no call touches the lane any more.
func (l *lane) close() {
	if l.signal == nil {
		return
	}
	l.mu.Lock()
	for l.active > 0 {
		l.idle.Wait()
	}
	l.mu.Unlock()
	l.watch.Stop()
	_ = l.signal.Close()
	_ = unix.Close(l.bell)
}

// copyAnswer copies what the plugin said of c before anything is done with it. Lengths that are too great for their place
// are cut, and so no longer what was said; what depends on them is refused by whoever checks the result.
func (l *lane) copyAnswer(c *call) {
	a := &l.state.answers[c.slot]
	c.answer = a.head
	n := min(int(c.answer.stateLen), codecs.MaxState)
	c.after = append(c.after[:0], a.state[:n]...)
	c.text = ""
	if c.answer.bits&(bitFault|bitFailed) != 0 {
		c.text = string(a.text[:min(int(c.answer.textLen), maxText)])
	}
}

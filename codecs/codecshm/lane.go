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
// # Why no wake-up is lost
//
// Each side has a flag that says that it sleeps: the plugin writes nap, the host writes parked. The side that goes to sleep
// sets its flag first and then checks once more for work. The side that makes work publishes it first and then checks the
// other's flag. All four steps are operations of sync/atomic. These are sequentially consistent, even between two processes
// that map the same memory, since they are single instructions on it. So at least one side sees what the other did: either
// the sleeper finds the work, or the other side sees the flag and writes to a pipe, which stays readable until it is read.
// (If a load must not be reordered before an earlier write, that write is an exchange, never a Store: under the race
// detector a Store orders only the operations before it.) Each flag is a counter, so that a pipe is written once for each
// sleep and not once for each call.
//
// The contents of a call or an answer are written with plain stores before the atomic store that publishes them (head, and
// the attempt of an answer), and read after the atomic load that saw it. Only one side at a time touches the slots and the
// memory of a call: the host until it publishes the call, the plugin until it publishes the answer. A plugin that breaks
// this rule changes its own answers only, and the host has copied everything on which it acts: only the bytes of payloads
// and wire are used in place.
type lane struct {
	plane   *Plane
	control *laneControl
	state   *laneState
	bell    int      // write end of the pipe that wakes the plugin
	signal  *os.File // read end of the pipe that wakes listen
	timeout time.Duration

	mu      sync.Mutex
	idle    sync.Cond // no call is under way
	freed   sync.Cond // a slot is free
	free    []uint32  // free slots
	active  int       // calls that have a slot
	attempt uint64    // of the last call
	rung    uint32    // the value of nap for which the bell was rung last
	naps    uint32    // number of times the host asked for the signal
	parked  []*call   // calls that wait for the signal
	watch   *time.Timer
	watched bool // the timer is set
	failed  bool
}

// A call is a call of a direction. The direction reuses it for its next call.
type call struct {
	callSlot // the contents of the slot, except for the state

	state []byte
	quick bool // the answer will probably arrive before the call could park
	alone bool // no other call was under way on the lane when it was submitted
	slot  uint32

	spinner  spinner
	parkedAt time.Time
	index    int // in lane.parked
	wake     chan error

	// The answer.
	answer answerHead
	after  []byte // the state after the call
	text   string
	skips  []faultEntry // copies of the skipped faults in the answer, while they are checked
	wants  []string     // likewise of their texts
}

// begin creates the lane's pipes. It returns the plugin's ends, which the caller must close, even after an error. Pipes are
// better than eventfds here, because the ends of a pipe are files of their own: if a plugin changes the flags of its end,
// the host's end keeps its flags.
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
	l.watch = time.AfterFunc(time.Hour, l.checkOverdue)
	l.watch.Stop()
	return theirs, nil
}

// do makes the call c and waits for its answer, which it copies into c, except for the parts in places. Its error is
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
	l.freed.Signal() // not Broadcast: thousands may wait, and waking them all for each slot would use up all time
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
	l.attempt++ // never wraps: so it never equals an old attempt, nor 0, the attempt of a slot that was never answered
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

// Errors of calls that the plugin had not begun. A plugin that lies about this harms only its own other calls.
var (
	errGoneBefore    = fmt.Errorf("%w; %w", codeccall.ErrGone, codeccall.ErrNotBegun)
	errOverdueBefore = fmt.Errorf("%w; %w", codeccall.ErrOverdue, codeccall.ErrNotBegun)
)

// ifBegun returns err, with which c ended, and adds ErrNotBegun if the plugin had not begun the call.
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

// writeByte writes a byte to a pipe, which wakes the reader. It doesn't block: if the pipe is full, the reader wakes anyway.
func writeByte(pipe int) {
	var one [1]byte
	// A raw system call, without a notice to the runtime: it doesn't block.
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&one[0])), 1)
}

// wait returns when c was answered, or the error if it can't be answered any more.
func (l *lane) wait(c *call) error {
	answered := &l.state.answers[c.slot].attempt
	spins := c.quick && c.alone // otherwise other goroutines can use the processor
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

// park adds c to the calls that listen wakes. It returns true without doing so if c was answered in the meantime.
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

// unpark ends the wait of a parked call with err.
func (l *lane) unpark(c *call, err error) {
	last := len(l.parked) - 1
	l.parked[c.index] = l.parked[last]
	l.parked[c.index].index = c.index
	l.parked[last] = nil
	l.parked = l.parked[:last]
	c.wake <- err
}

// errLetGo: the process can't wake the host any more. It has ended, or has closed the pipe.
var errLetGo = errors.New("the process has let go of what it shared")

// listen wakes parked calls that were answered, until the lane is closed. It is the only reader of the signal.
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

// wakeAnswered wakes the parked calls that were answered, and reports whether there were any.
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

// checkOverdue is the timer's callback. It fails the plane if a call is overdue.
func (l *lane) checkOverdue() {
	l.mu.Lock()
	l.wakeAnswered() // an answered call is not overdue, even if this process was held up and has not seen the answer yet
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

// endCalls ends all calls with codeccall.ErrGone, or ErrOverdue if they are.
func (l *lane) endCalls() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = true
	l.wakeAnswered() // a process that died of one call may have answered others without a signal
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

// close stops listen. It returns when no call uses the lane any more.
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

// copyAnswer copies the plugin's answer to c, before anything acts on it. Lengths that exceed their place are cut for the
// copy; verdict then refuses the answer.
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

//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// ErrBroken is wrapped by an error of Serve after which calls would never be answered: the process must exit.
var ErrBroken = errors.New("plane is broken")

// Configured is a configured codec in a plugin process.
type Configured struct {
	Framing  codecs.Framing
	MaxFrame int
	MaxWire  int
}

// Serve answers the calls of the host that started this process, if the host offers this plane, until the host closes it.
// lookup returns the codec that was configured under a number, or nil. After an error of Serve the host makes its calls
// over gRPC, unless the error wraps [ErrBroken].
func Serve(lookup func(number uint32) *Configured) error {
	inherited := os.Getenv(Variable)
	if inherited == "" {
		return nil
	}
	if err := os.Unsetenv(Variable); err != nil {
		return err
	}
	fd, err := strconv.Atoi(inherited)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s: got %q, want the number of a descriptor", Variable, inherited)
	}
	unix.CloseOnExec(fd)
	s := &server{lookup: lookup}
	if s.socket, err = newSocket(fd); err != nil {
		return fmt.Errorf("%s: %w", Variable, err)
	}
	defer s.socket.close()
	return s.serve()
}

// A server is the end of the plane in a plugin process.
type server struct {
	socket *socket
	lookup func(number uint32) *Configured
	lanes  [laneCount]serverLane

	mu       sync.Mutex
	added    sync.Cond                         // a segment was added, a worker has ended, or over was set
	segments atomic.Pointer[map[uint32][]byte] // replaced, never changed
	workers  int
	over     bool     // the host has closed the plane
	files    []int    // of the lanes
	common   [][]byte // the first two segments
}

func (s *server) serve() error {
	s.added.L = &s.mu
	s.segments.Store(&map[uint32][]byte{})
	for {
		m, err := s.socket.receive(maxFiles)
		if err != nil && !errors.Is(err, errVersion) {
			closeAll(m.files)
			s.end()
			return nil // the host is gone, or does not need the plane
		}
		switch {
		case err != nil || m.op == opBegin:
			if err == nil {
				err = s.begin(m.files)
			} else {
				closeAll(m.files)
			}
			answer := message{op: opReady}
			if err != nil {
				answer.refusal = err.Error()
			}
			if sendErr := s.socket.send(answer); sendErr != nil || err != nil {
				s.end()
				return errors.Join(err, sendErr)
			}
		case m.op == opAdd && len(m.files) == 1:
			memory, err := mapMemory(m.files[0], int(m.size), m.readOnly)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBroken, err)
			}
			s.set(m.id, memory)
		case m.op == opDrop:
			s.set(m.id, nil)
		default:
			closeAll(m.files)
			return fmt.Errorf("%w: message %d with %d files", ErrBroken, m.op, len(m.files))
		}
	}
}

// begin maps the first two segments and starts the lanes. It takes ownership of files.
func (s *server) begin(files []int) error {
	if len(files) != maxFiles {
		closeAll(files)
		return fmt.Errorf("got %d descriptors, want %d", len(files), maxFiles)
	}
	control, err := mapMemory(files[0], controlSize, true)
	if err != nil {
		closeAll(files[1:])
		return err
	}
	state, err := mapMemory(files[1], stateSize, false)
	if err != nil {
		closeAll(files[2:])
		return errors.Join(err, unix.Munmap(control))
	}
	s.common, s.files = [][]byte{control, state}, files[2:]
	for i := range s.lanes {
		l := &s.lanes[i]
		l.server, l.control, l.state = s, &controlOf(control)[i], &stateOf(state)[i]
		l.bell, l.signal = files[2+2*i], files[3+2*i]
		if err := unix.SetNonblock(l.signal, true); err != nil {
			return err
		}
		l.goOn(l.owner.Load())
	}
	return nil
}

// end waits for the workers, which end because the bells are closed, and releases everything that the host had passed.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for s.added.Broadcast(); s.workers > 0; {
		s.added.Wait()
	}
	closeAll(s.files)
	for _, memory := range s.common {
		_ = unix.Munmap(memory) // can't fail for memory that Mmap returned
	}
	for _, memory := range *s.segments.Load() {
		_ = unix.Munmap(memory)
	}
	s.files, s.common = nil, nil
	s.segments.Store(&map[uint32][]byte{})
}

// set adds memory as segment id or, if memory is nil, unmaps that segment.
func (s *server) set(id uint32, memory []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.segments.Load()
	segments := make(map[uint32][]byte, len(old)+1)
	for k, v := range old {
		segments[k] = v
	}
	if memory != nil {
		segments[id] = memory
	} else if memory = segments[id]; memory != nil {
		delete(segments, id)
		defer unix.Munmap(memory) //nolint:errcheck // can't fail for memory that Mmap returned
	}
	s.segments.Store(&segments)
	s.added.Broadcast()
}

// at returns the memory at p. If the segment is not mapped yet, at waits for it: the host adds segments over the socket.
func (s *server) at(p place) ([]byte, error) {
	if p.length == 0 {
		return nil, nil
	}
	memory, ok := (*s.segments.Load())[p.segment]
	if !ok {
		s.mu.Lock()
		for memory, ok = (*s.segments.Load())[p.segment]; !ok && !s.over; memory, ok = (*s.segments.Load())[p.segment] {
			s.added.Wait()
		}
		s.mu.Unlock()
		if !ok {
			return nil, errClosed
		}
	}
	end := uint64(p.offset) + uint64(p.length)
	if end > uint64(len(memory)) {
		return nil, fmt.Errorf("%d bytes at %d of segment %d, which has %d", p.length, p.offset, p.segment, len(memory))
	}
	return memory[p.offset:end:end], nil
}

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

// A worker runs calls: it is one goroutine, with memory of its own.
type worker struct {
	runner  codeccall.Runner
	decode  codeccall.Decode
	encode  codeccall.Encode
	decoded codeccall.Decoded
	encoded codeccall.Encoded
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

// run makes the call in slot and writes its answer, except for the attempt, which it returns.
func (w *worker) run(l *serverLane, slot uint32) (attempt uint64) {
	c, a := &l.control.calls[slot], &l.state.answers[slot]
	a.begun.Store(c.attempt)
	a.head = answerHead{}
	if err := w.call(l.server, c, a); err != nil {
		a.head = answerHead{bits: bitFailed, textLen: uint32(copy(a.text[:], trimFailed(err)))}
	}
	return c.attempt
}

func (w *worker) call(s *server, c *callSlot, a *answerSlot) error {
	codec := s.lookup(c.codec)
	if codec == nil {
		return fmt.Errorf("codec %d was not configured", c.codec)
	}
	wire, err := s.at(c.wire)
	if err != nil {
		return err
	}
	entries, err := s.at(c.entries)
	if err != nil {
		return err
	}
	data, err := s.at(c.data)
	if err != nil {
		return err
	}
	state := c.state[:min(c.stateLen, codecs.MaxState)]
	if c.kind == kindDecode {
		faults, err := s.at(c.faults)
		if err != nil {
			return err
		}
		return w.runDecode(codec, c, a, wire, state, refsIn(entries), data, faults)
	}
	refs, err := s.at(c.refs)
	if err != nil {
		return err
	}
	return w.runEncode(codec, c, a, wire, refsIn(refs), state, endsIn(entries), data)
}

var errTable = errors.New("more entries than calls can have")

func (w *worker) runDecode(codec *Configured, c *callSlot, a *answerSlot, wire, state []byte, refs []codecs.Ref,
	data, skipped []byte) error {
	in, out := &w.decode, &w.decoded
	wants, faults := faultsIn(skipped)
	*in = codeccall.Decode{
		Wire: wire, Examined: int(c.examined), EOF: c.eof != 0, State: state, Room: len(data), Skips: len(faults),
	}
	w.runner.UseForDecode(refs[:0:len(refs)], data[:0:len(data)])
	if err := w.runner.Decode(codec.Framing, codec.MaxFrame, in, out); err != nil {
		return err
	}
	if err := in.Check(&codeccall.Properties{MaxFrame: codec.MaxFrame, MaxWire: codec.MaxWire}, out); err != nil {
		return err
	}
	if len(out.Refs) > len(refs) {
		return errTable
	}
	copyIfMoved(refs, out.Refs)
	copyIfMoved(data, out.Data)
	a.head = answerHead{
		entries: uint32(len(out.Refs)), size: uint32(len(out.Data)), consumed: uint32(out.Consumed), examined: uint32(out.Examined),
		need: uint32(min(out.Need, codecs.MaxWire)), roomNeeded: uint32(out.RoomNeeded), skipped: uint32(out.Skipped),
		dropped: uint32(out.Dropped),
	}
	a.skip(out.SkippedFaults, wants, faults)
	a.finish(out.More, out.State, out.Fault)
	return nil
}

// skip writes the skipped faults and their different Wants to their place.
func (a *answerSlot) skip(skipped []codeccall.SkippedFault, wants []wantEntry, faults []faultEntry) {
	var texts [codeccall.MaxWants]string
	known := texts[:0]
	for i := range skipped {
		f := &skipped[i]
		want := slices.Index(known, f.Want)
		if want < 0 {
			want = len(known)
			known = append(known, f.Want)
			wants[want].length = uint32(copy(wants[want].text[:], f.Want))
		}
		faults[i] = faultEntry{
			kind: kindOf(f.Err), offset: uint32(f.Offset), at: uint32(f.At), resume: uint32(f.Resume),
			payloads: uint32(f.Payloads), want: uint32(want), dropped: uint32(f.Dropped), announced: f.Announced,
		}
	}
	a.head.faults, a.head.wants = uint32(len(skipped)), uint32(len(known))
}

func (w *worker) runEncode(codec *Configured, c *callSlot, a *answerSlot, wire []byte, refs []codecs.Ref, state []byte,
	ends []uint32, data []byte) error {
	in, out := &w.encode, &w.encoded
	*in = codeccall.Encode{Wire: wire, Refs: refs, EOF: c.eof != 0, State: state, Room: len(data)}
	w.runner.UseForEncode(data[:0:len(data)], ends[:0:len(ends)])
	if err := w.runner.Encode(codec.Framing, in, out); err != nil {
		return err
	}
	if err := in.Check(&codeccall.Properties{MaxFrame: codec.MaxFrame, MaxWire: codec.MaxWire}, out); err != nil {
		return err
	}
	if len(out.Ends) > len(ends) {
		return errTable
	}
	copyIfMoved(ends, out.Ends)
	copyIfMoved(data, out.Wire)
	a.head = answerHead{entries: uint32(len(out.Ends)), size: uint32(len(out.Wire)), roomNeeded: uint32(out.RoomNeeded)}
	a.finish(out.More, out.State, out.Fault)
	return nil
}

// copyIfMoved copies built to where it belongs, if it lies elsewhere: when a codec appends more than it had announced to Grow,
// Go moves the slice.
func copyIfMoved[T any](where, built []T) {
	if len(built) > 0 && &built[0] != &where[0] {
		copy(where, built)
	}
}

// finish sets the parts of an answer that decodes and encodes have in common.
func (a *answerSlot) finish(more bool, state []byte, fault *codecs.Fault) {
	if more {
		a.head.bits |= bitMore
	}
	a.head.stateLen = uint32(copy(a.state[:], state))
	if fault != nil {
		a.head.bits |= bitFault
		a.head.faultKind = kindOf(fault.Err)
		a.head.faultOffset, a.head.faultAt, a.head.faultResume = int64(fault.Offset), int64(fault.At), int64(fault.Resume)
		a.head.announced = fault.Announced
		a.head.textLen = uint32(copy(a.text[:], fault.Want))
	}
}

// trimFailed returns the text of err without that of ErrCodecFailed, which the host adds again.
func trimFailed(err error) string {
	return strings.TrimPrefix(err.Error(), codeccall.ErrCodecFailed.Error()+": ")
}

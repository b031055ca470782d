//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// ends are both ends of a plane in this process, each with mappings of its own.
type ends struct {
	*Plane
	server *server
	served chan error // what serve returned

	mu     sync.Mutex
	codecs map[uint32]*Configured
	cause  error // why the plane failed
}

// connect returns a plane and the socket of its other end. Both are closed with the test.
func connect(t testing.TB) (*Plane, *socket) {
	t.Helper()
	plane, inherited, err := New()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	defer inherited.Close()
	t.Cleanup(plane.Close)
	fd, err := unix.Dup(int(inherited.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newSocket(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(theirs.close)
	return plane, theirs
}

// start returns a plane that is served. Its calls have no time limit.
func start(t testing.TB) *ends {
	t.Helper()
	plane, theirs := connect(t)
	e := &ends{Plane: plane, served: make(chan error, 1), codecs: map[uint32]*Configured{}}
	e.server = &server{socket: theirs, lookup: e.lookup}
	go func() { e.served <- e.server.serve() }()
	t.Cleanup(e.close)
	if err := e.Begin(context.Background(), 0, e.failed); err != nil {
		t.Fatal(err)
	}
	return e
}

// close returns after the other end has ended too.
func (e *ends) close() {
	e.Close()
	e.served <- <-e.served
	e.server.socket.close()
}

func (e *ends) failed(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause = errors.Join(e.cause, cause)
}

func (e *ends) lookup(number uint32) *Configured {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.codecs[number]
}

// open configures framing and returns a direction of it.
func (e *ends) open(framing codecs.Framing, maxFrame int) *direction {
	e.mu.Lock()
	number := uint32(len(e.codecs) + 1)
	c := &Configured{Framing: framing, MaxFrame: maxFrame, MaxWire: codecs.MaxWireOf(framing, maxFrame)}
	e.codecs[number] = c
	e.mu.Unlock()
	return e.Open(number, codeccall.Properties{MaxFrame: maxFrame, MaxWire: c.MaxWire}).(*direction)
}

// openOn is open for a direction whose calls travel on the lane with that number.
func (e *ends) openOn(lane int, framing codecs.Framing, maxFrame int) *direction {
	d := e.open(framing, maxFrame)
	d.lane = &e.lanes[lane]
	return d
}

// lab is a framing of functions.
type lab struct {
	decode func(out *codecs.Payloads, in codecs.Wire) (int, error)
	encode func(out *codecs.Frames, in codecs.Batch) (int, error)
}

func (l lab) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) { return l.decode(out, in) }
func (l lab) Encode(out *codecs.Frames, in codecs.Batch) (int, error)  { return l.encode(out, in) }

// mixed ends payloads with a newline. A payload that begins with ^ is built, in upper case and without the ^. A payload "%" is
// dropped. One that begins with ! is a fault. State counts the frames of a stream. With state an empty payload is skipped.
type mixed struct{}

var mixedCodec = codecs.New(codecs.Info{Name: "mixed", Version: "1.0.0", Description: "for tests"}, struct{}{},
	func(*struct{}, int) (codecs.Framing, error) { return mixed{}, nil })

func (mixed) UsesState() bool          { return true }
func (mixed) MaxWire(maxFrame int) int { return maxFrame + 2 }

func (mixed) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	count := counted(in.State)
	defer func() { out.SetState(count) }()
	for {
		i := bytes.IndexByte(in.Bytes[from:], '\n')
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			out.SetNeed(len(in.Bytes) - begin + 1)
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{
					Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a newline", Resume: len(in.Bytes),
				}
			}
			return begin, nil
		}
		frame, next := in.Bytes[begin:from+i], from+i+1
		var err error
		switch {
		case len(frame) > 0 && frame[0] == '^':
			err = out.Append(bytes.ToUpper(frame[1:]))
		case string(frame) == "%":
			out.Skip()
		case len(frame) > 0 && frame[0] == '!':
			out.SetExamined(begin)
			err = &codecs.Fault{Offset: begin, At: begin, Err: codecs.ErrMalformed, Want: "no exclamation", Resume: next}
		default:
			err = out.Refer(begin, from+i)
		}
		if err != nil {
			return begin, err
		}
		count[0]++
		begin, from = next, next
	}
}

func (mixed) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	count := counted(in.State)
	defer func() { out.SetState(count) }()
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, '\n'); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no newline"}
		}
		if len(payload) == 0 && len(in.State) > 0 {
			out.Skip()
			count[0]++
			continue
		}
		b, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(b, payload...), '\n')); err != nil {
			return i, err
		}
		count[0]++
	}
	if in.EOF {
		b, err := out.Grow(4)
		if err != nil {
			return in.Len(), err
		}
		if err := out.Extend(append(b, "bye\n"...)); err != nil {
			return in.Len(), err
		}
	}
	return in.Len(), nil
}

func counted(state []byte) []byte {
	return append([]byte(nil), append(state[:len(state):len(state)], 0)[:1]...)
}

// A double replaces the plugin process, and gives any answers.
type double struct {
	*Plane
	server *server // for its memory; its lanes are used, but have no workers
	ended  sync.WaitGroup
	says   sync.Mutex // held while respond runs: the race detector does not see that calls precede their answers
}

// impersonate returns a plane on whose first lane respond answers calls, except for the attempt. Segments are mapped as in any
// process.
func impersonate(t testing.TB, respond func(d *double, c *callSlot, a *answerSlot)) *double {
	t.Helper()
	return impersonateLane(t, 0, func(d *double, l *serverLane) {
		d.eachCall(l, func(slot uint32) {
			c, a := &l.control.calls[slot], &l.state.answers[slot]
			d.says.Lock()
			respond(d, c, a)
			d.says.Unlock()
			d.answer(l, slot)
		})
	})
}

// impersonateLane is impersonate for a function that works the first lane itself. work must end when the bell is closed.
func impersonateLane(t testing.TB, timeout time.Duration, work func(d *double, l *serverLane)) *double {
	t.Helper()
	plane, theirs := connect(t)
	d := &double{Plane: plane, server: &server{socket: theirs}}
	s := d.server
	s.added.L = &s.mu
	s.segments.Store(&map[uint32][]byte{})
	d.ended.Go(func() {
		for {
			m, err := theirs.receive(maxFiles)
			if err != nil {
				return
			}
			switch m.op {
			case opBegin:
				err = d.begin(m.files)
				if err == nil {
					err = theirs.send(message{op: opReady})
				}
				d.ended.Go(func() { work(d, &s.lanes[0]) })
			case opAdd:
				var memory []byte
				if memory, err = mapMemory(m.files[0], int(m.size), m.readOnly); err == nil {
					s.set(m.id, memory)
				}
			case opDrop:
				s.set(m.id, nil)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	t.Cleanup(func() {
		plane.Close()
		d.ended.Wait()
		s.end()
	})
	if err := plane.Begin(context.Background(), timeout, nil); err != nil {
		t.Fatal(err)
	}
	plane.turn.Store(laneCount - 1)
	return d
}

func (d *double) begin(files []int) error {
	s := d.server
	control, err := mapMemory(files[0], controlSize, true)
	if err != nil {
		return err
	}
	state, err := mapMemory(files[1], stateSize, false)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.common, s.files = [][]byte{control, state}, files[2:]
	for i := range s.lanes {
		l := &s.lanes[i]
		l.server, l.control, l.state = s, &controlOf(control)[i], &stateOf(state)[i]
		l.bell, l.signal = files[2+2*i], files[3+2*i]
	}
	return nil
}

// open returns a direction whose calls travel on the first lane.
func (d *double) open(p codeccall.Properties) *direction {
	on := d.Open(1, p).(*direction)
	on.lane = &d.lanes[0]
	return on
}

// eachCall passes on the calls of l until the host closes the lane.
func (d *double) eachCall(l *serverLane, do func(slot uint32)) {
	for {
		taken := l.taken.Load()
		if l.control.head.Load() == taken {
			if !l.nap(taken) {
				return
			}
			continue
		}
		l.taken.Store(taken + 1)
		do(l.control.ring[taken%slotCount])
	}
}

// answer publishes the answer in slot.
func (d *double) answer(l *serverLane, slot uint32) {
	l.state.answers[slot].attempt.Swap(l.control.calls[slot].attempt)
	if l.control.parked.Load() != 0 {
		writeByte(l.signal)
	}
}

// memory returns the memory at p.
func (d *double) memory(p place) []byte {
	b, err := d.server.at(p)
	if err != nil {
		panic(err)
	}
	return b
}

// raw returns the bytes of an answer, except for the attempt.
func (a *answerSlot) raw() []byte {
	b := unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a))
	return b[unsafe.Offsetof(a.head):]
}

// mapped returns how many mappings of planes' memory this process has.
func mapped(t testing.TB) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "memfd:framehost")
}

// descriptors returns how many open files this process has.
func descriptors(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// sameDecoded compares results, except for where they lie.
func sameDecoded(got, want *codeccall.Decoded) error {
	a, b := *got, *want
	a.Lent, b.Lent = nil, nil
	if x, y := describe(a.Fault), describe(b.Fault); x != y {
		return fmt.Errorf("got fault %s, want %s", x, y)
	}
	if !bytes.Equal(a.Data, b.Data) {
		return fmt.Errorf("got %d bytes of data, want %d, or others", len(a.Data), len(b.Data))
	}
	a.Fault, b.Fault, a.Data, b.Data = nil, nil, nil, nil
	if x, y := fmt.Sprintf("%v", a), fmt.Sprintf("%v", b); x != y {
		return fmt.Errorf("got %.500s, want %.500s", x, y)
	}
	return nil
}

func sameEncoded(got, want *codeccall.Encoded) error {
	a, b := *got, *want
	a.Lent, b.Lent = nil, nil
	if x, y := describe(a.Fault), describe(b.Fault); x != y {
		return fmt.Errorf("got fault %s, want %s", x, y)
	}
	if !bytes.Equal(a.Wire, b.Wire) {
		return fmt.Errorf("got %d bytes of wire, want %d, or others", len(a.Wire), len(b.Wire))
	}
	a.Fault, b.Fault, a.Wire, b.Wire = nil, nil, nil, nil
	if x, y := fmt.Sprintf("%v", a), fmt.Sprintf("%v", b); x != y {
		return fmt.Errorf("got %.500s, want %.500s", x, y)
	}
	return nil
}

func describe(f *codecs.Fault) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *f)
}

//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs"
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

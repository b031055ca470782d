//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A Plane is the host's end: the memory shared with one plugin process, and the lanes on which calls travel. It is safe
// for concurrent use.
type Plane struct {
	socket *socket
	in     arena // what is shown; only the host writes there
	out    arena // answers; only the plugin writes there
	lanes  [laneCount]lane
	turn   atomic.Uint32

	control, state []byte
	nextSegment    atomic.Uint32

	failing sync.Once
	told    func(error) // of the failure; nil: nobody
	over    atomic.Bool // the plane has failed
	readers sync.WaitGroup
	closing sync.Once
}

// New returns a plane, and the file that the plugin process inherits and finds by [Variable]. The caller closes the file
// when the process was started. It fails where [Supported] does.
func New() (*Plane, *os.File, error) {
	p := &Plane{}
	for i := range p.lanes {
		p.lanes[i].idle.L, p.lanes[i].freed.L = &p.lanes[i].mu, &p.lanes[i].mu
	}
	p.nextSegment.Store(stateSegment)
	p.in.init(func(size int) (*segment, error) { return p.openSegment(size, true) })
	p.out.init(func(size int) (*segment, error) { return p.openSegment(size, false) })
	if err := Supported(); err != nil {
		return nil, nil, err
	}
	ours, theirs, err := newSocketPair()
	if err != nil {
		return nil, nil, err
	}
	p.socket = ours
	return p, theirs, nil
}

// Begin hands the process its memory and returns when it is mapped there; ctx ends the wait. No answer may take longer
// than timeout from then on; 0: for ever. failed is told, once, why the plane no longer serves, before the first call
// fails. When Begin fails the plane can only be closed, and the error says why the process has to be served by another.
func (p *Plane) Begin(ctx context.Context, timeout time.Duration, failed func(error)) error {
	files, err := p.allocate()
	defer closeAll(files)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.socket.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := p.socket.send(message{op: opBegin, files: files}); err != nil {
		return fmt.Errorf("handing memory to the process: %w", err)
	}
	answer, err := p.socket.receive(0)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("waiting for the process to map memory: %w", err)
	case answer.op != opReady:
		return fmt.Errorf("the process sent message %d instead of mapping memory", answer.op)
	case answer.refusal != "":
		quoted := strconv.Quote(answer.refusal) // which is shown to operators, and not trusted with their terminals
		return fmt.Errorf("the process: %s", quoted[1:len(quoted)-1])
	}
	p.told = failed
	for i := range p.lanes {
		l := &p.lanes[i]
		l.timeout = timeout
		p.readers.Go(l.listen)
	}
	return nil
}

// allocate makes the first two segments and the lanes. It returns descriptors for the process, which the
// caller closes, also when it fails.
func (p *Plane) allocate() (files []int, err error) {
	var control, state int
	if p.control, control, err = newMemory(controlSize, true); err != nil {
		return files, err
	}
	files = append(files, control)
	if p.state, state, err = newMemory(stateSize, false); err != nil {
		return files, err
	}
	files = append(files, state)
	for i := range p.lanes {
		theirs, err := p.lanes[i].begin(p, &controlOf(p.control)[i], &stateOf(p.state)[i])
		files = append(files, theirs...)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// openSegment makes a segment for an arena. The process may still be about to map it when the first call comes.
func (p *Plane) openSegment(size int, readOnly bool) (*segment, error) {
	if p.over.Load() {
		return nil, errClosed // rather than wait for a socket that nobody reads
	}
	memory, fd, err := newMemory(size, readOnly)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	id := p.nextSegment.Add(1)
	if err := p.socket.send(message{op: opAdd, id: id, size: uint64(size), readOnly: readOnly, files: []int{fd}}); err != nil {
		_ = unix.Munmap(memory)
		p.endCalls(fmt.Errorf("handing memory to the process: %w", err))
		return nil, err
	}
	return &segment{
		id: id, memory: memory,
		unmap: func() { _ = unix.Munmap(memory) }, // can't fail for what Mmap returned
		drop: func() {
			if p.over.Load() {
				return
			}
			if err := p.socket.send(message{op: opDrop, id: id}); err != nil {
				p.endCalls(fmt.Errorf("taking memory from the process: %w", err))
			}
		},
	}, nil
}

// Lend returns memory to receive into that the process can read, or nil if there is none to be had.
func (p *Plane) Lend(size int) codeccall.Loan {
	if b := p.in.get(size); b != nil {
		return b
	}
	return nil
}

// Open returns a Direction for the calls of one flow on the codec that was configured under number. Its calls fail with
// codeccall.ErrGone, ErrOverdue or ErrMisbehaved, after which the process has to be killed and the call may be made again
// on another; or with codeccall.ErrCodecFailed.
func (p *Plane) Open(number uint32, properties codeccall.Properties) codeccall.Direction {
	return &direction{
		plane: p, lane: &p.lanes[p.turn.Add(1)%laneCount], number: number, properties: properties,
	}
}

var errClosed = errors.New("closed")

// endCalls ends all calls under way: with codeccall.ErrOverdue those that are, the others with ErrGone.
func (p *Plane) endCalls(cause error) {
	p.failing.Do(func() {
		if p.told != nil {
			p.told(cause)
		}
		p.over.Store(true)
	})
	for i := range p.lanes {
		p.lanes[i].endCalls()
	}
}

// Close ends the plane. It is for after the process has ended, or was never served. Calls that are under way fail.
// Memory that is lent stays readable until it is returned. To close it again does nothing.
func (p *Plane) Close() { p.closing.Do(p.close) }

func (p *Plane) close() {
	p.endCalls(errClosed)
	for i := range p.lanes {
		p.lanes[i].close()
	}
	p.readers.Wait()
	p.socket.close()
	p.in.close()
	p.out.close()
	for _, memory := range [][]byte{p.control, p.state} {
		if memory != nil {
			_ = unix.Munmap(memory)
		}
	}
}

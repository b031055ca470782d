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

// A Plane is the host's end of shared memory: the memory shared with one plugin process, and the lanes on which calls
// travel. It is safe for concurrent use.
type Plane struct {
	socket *socket
	in     arena // input of calls; only the host writes to it
	out    arena // output of calls; only the plugin writes to it
	lanes  [laneCount]lane
	turn   atomic.Uint32

	control, state []byte
	nextSegment    atomic.Uint32

	failing   sync.Once
	onFailure func(error) // called once when the plane fails; nil before Begin has succeeded
	over      atomic.Bool // the plane has failed
	readers   sync.WaitGroup
	closing   sync.Once
	beginning sync.Mutex // held by Begin; close waits for it
	closed    bool       // Close was called; beginning guards it
}

// New returns a plane, and the file that the plugin process must inherit; [Variable] gives the process its number. The
// caller closes the file after the process was started. New fails where [Supported] does.
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

// Begin passes the process its memory and returns when the process has mapped it; ctx ends the wait. From then on no answer
// may take longer than timeout; 0: no limit. failed is called once, with the reason, when the plane fails, before the first
// call fails. If Begin returns an error, the plane can only be closed; the error says why the process needs another plane.
func (p *Plane) Begin(ctx context.Context, timeout time.Duration, failed func(error)) error {
	p.beginning.Lock()
	defer p.beginning.Unlock()
	if p.closed {
		return errClosed
	}
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
		quoted := strconv.Quote(answer.refusal) // operators see it, so it must not control their terminals
		return fmt.Errorf("the process: %s", quoted[1:len(quoted)-1])
	}
	p.onFailure = failed
	for i := range p.lanes {
		l := &p.lanes[i]
		l.timeout = timeout
		p.readers.Go(l.listen)
	}
	return nil
}

// allocate creates the first two segments and the lanes. It returns descriptors for the process, which the caller must
// close, even after an error.
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

// openSegment creates a segment for an arena. The process may not have mapped it yet when the first call refers to it.
func (p *Plane) openSegment(size int, readOnly bool) (*segment, error) {
	if p.over.Load() {
		return nil, errClosed // do not wait for a socket that has no reader
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
		unmap: func() { _ = unix.Munmap(memory) }, // can't fail for memory that Mmap returned
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

// Lend returns memory of at least size bytes to receive into that the process can read, or nil if there is none.
func (p *Plane) Lend(size int) codeccall.Loan {
	if b := p.in.get(size); b != nil {
		return b
	}
	return nil
}

// Open returns a Direction for the calls of one flow to the codec that was configured under number. Its calls fail with
// codeccall.ErrGone, ErrOverdue or ErrMisbehaved, after which the process must be killed and the call may be repeated in
// another; or with codeccall.ErrCodecFailed.
func (p *Plane) Open(number uint32, properties codeccall.Properties) codeccall.Direction {
	return &direction{
		plane: p, lane: &p.lanes[p.turn.Add(1)%laneCount], number: number, properties: properties,
	}
}

var errClosed = errors.New("closed")

// endCalls ends all calls under way: overdue ones with codeccall.ErrOverdue, the others with ErrGone.
func (p *Plane) endCalls(cause error) {
	p.failing.Do(func() {
		if p.onFailure != nil {
			p.onFailure(cause)
		}
		p.over.Store(true)
	})
	for i := range p.lanes {
		p.lanes[i].endCalls()
	}
}

// Close closes the plane. Call it after the process has ended, or if it was never served. Calls that are under way fail.
// Lent memory stays readable until it is given back. Closing a plane twice does nothing.
func (p *Plane) Close() { p.closing.Do(p.close) }

func (p *Plane) close() {
	_ = p.socket.conn.SetReadDeadline(time.Unix(1, 0)) // ends the wait of a Begin that is under way
	p.beginning.Lock()
	defer p.beginning.Unlock()
	p.closed = true
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

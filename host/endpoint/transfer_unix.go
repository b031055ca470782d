//go:build unix

package endpoint

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// A transfer moves bytes with single non-blocking system calls, and waits in the runtime's poller between them.
//
// The kernel reports a reset or a lost peer once, to the first call of either direction. A later read then returns the end
// of the stream, and a later write fails with EPIPE. So that both directions return the cause, each system call is made
// under its direction's mutex and stores the cause in broken before it unlocks the mutex. A direction that meets the
// consequence locks the other direction's mutex once; after that, broken has the cause, if there is one.
type transfer struct {
	raw     syscall.RawConn
	in, out ioState
	broken  atomic.Pointer[error] // ErrReset or ErrPeerLost, as the kernel reported it
	stalled atomic.Bool           // a write waits for the peer to accept bytes
}

// An ioState is one direction of a transfer: the arguments and results of the call in progress.
type ioState struct {
	mu      sync.Mutex
	try     func(fd uintptr) bool // stored, since each use of a method value allocates
	grab    func() []byte
	release func([]byte)
	p       []byte
	n       int
	err     error
}

func newTransfer(s socket) (*transfer, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &transfer{raw: raw}
	t.in.try, t.out.try = t.tryRead, t.tryWrite
	return t, nil
}

func (t *transfer) read(grab func() []byte, release func([]byte)) (int, error) {
	f := &t.in
	f.grab, f.release, f.n, f.err = grab, release, 0, nil
	err := t.raw.Read(f.try)
	f.grab, f.release = nil, nil
	if err != nil {
		return 0, stopped(err)
	}
	if f.err != nil {
		return 0, t.cause(f.err, &t.out)
	}
	return f.n, nil
}

func (t *transfer) tryRead(fd uintptr) (done bool) {
	f := &t.in
	buf := f.grab()
	if len(buf) == 0 {
		return true
	}
	f.mu.Lock()
	f.n, f.err = t.call("read", syscall.Read, fd, buf)
	f.mu.Unlock()
	if f.n > 0 {
		return true
	}
	f.release(buf)
	if f.err == nil {
		f.err = io.EOF
	}
	return f.err != errAgain
}

func (t *transfer) write(p []byte) (int, error) {
	f := &t.out
	f.p, f.n, f.err = p, 0, nil
	err := t.raw.Write(f.try)
	f.p = nil
	if err != nil {
		t.stalled.Store(false)
		return 0, stopped(err)
	}
	if f.err != nil {
		return 0, t.cause(f.err, &t.in)
	}
	return f.n, nil
}

func (t *transfer) tryWrite(fd uintptr) (done bool) {
	f := &t.out
	f.mu.Lock()
	f.n, f.err = t.call("write", syscall.Write, fd, f.p)
	f.mu.Unlock()
	again := f.err == errAgain
	if t.stalled.Load() != again {
		t.stalled.Store(again)
	}
	return !again
}

// errAgain stands for EAGAIN: the call has to wait.
var errAgain = errors.New("would wait")

// call makes one system call. The caller holds the mutex of the direction.
func (t *transfer) call(name string, sys func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := sys(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, errAgain
		}
		end := Classify(os.NewSyscallError(name, err))
		// EPIPE is never the cause: it follows a reset, or the peer's Close, after which the other direction may still work.
		if err != syscall.EPIPE && (errors.Is(end, ErrReset) || errors.Is(end, ErrPeerLost)) {
			t.broken.CompareAndSwap(nil, &end)
		}
		return 0, end
	}
}

// cause returns the error that the kernel reported to either direction, or err if there is none.
func (t *transfer) cause(err error, other *ioState) error {
	other.mu.Lock() // waits until a call in progress has stored the error it got
	defer other.mu.Unlock()
	if broken := t.broken.Load(); broken != nil {
		return *broken
	}
	return err
}

// stopped returns the error of a wait that ended because the connection was closed or its deadline passed.
func stopped(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return bare(err)
}

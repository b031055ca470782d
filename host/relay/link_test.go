package relay

import (
	"context"
	"errors"
	"io"
	"sync"
)

var (
	errReset  = errors.New("connection reset by peer")
	errClosed = errors.New("use of closed link")
	errLost   = errors.New("connection timed out")
)

func classify(err error) Reason {
	switch {
	case errors.Is(err, errReset):
		return Reset
	case errors.Is(err, errLost):
		return PeerLost
	default:
		return IOError
	}
}

// A stream is one direction of a link in memory. It holds up to limit bytes.
type stream struct {
	mu     sync.Mutex
	change *sync.Cond
	held   []byte
	cuts   []int // sizes of the next reads, at most; then whatever is there
	limit  int
	full   bool  // a write waits for room
	ended  bool  // cleanly
	broken error // the error for writers, and for readers after the held bytes
}

func newStream(limit int) *stream {
	s := &stream{limit: limit}
	s.change = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(grab func() []byte, release func([]byte)) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release(grab()) // like a link that tries to read first, and waits then
	for {
		switch {
		case s.broken == errClosed:
			return 0, errClosed
		case len(s.held) > 0:
			p := grab()
			most := len(p)
			if len(s.cuts) > 0 {
				most = min(most, s.cuts[0])
				s.cuts = s.cuts[1:]
			}
			n := copy(p[:most], s.held)
			s.held = s.held[n:]
			s.change.Broadcast()
			return n, nil
		case s.broken != nil:
			return 0, s.broken
		case s.ended:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.broken == nil && len(s.held) >= s.limit {
		s.full = true
		s.change.Wait()
	}
	s.full = false
	if s.broken != nil {
		return 0, s.broken
	}
	n := min(len(p), s.limit-len(s.held))
	s.held = append(s.held, p[:n]...)
	s.change.Broadcast()
	return n, nil
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.change.Broadcast()
}

func (s *stream) breakWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
	s.change.Broadcast()
}

// A link is one end of a connection in memory: the session's or the peer's.
type link struct {
	in, out *stream
	once    sync.Once
}

// connect returns the two ends of a connection. Each direction holds up to limit bytes.
func connect(limit int) (ours, peers *link) {
	a, b := newStream(limit), newStream(limit)
	return &link{in: a, out: b}, &link{in: b, out: a}
}

func (l *link) Read(grab func() []byte, release func([]byte)) (int, error) {
	return l.in.read(grab, release)
}

func (l *link) Readable() (int, error) {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	return len(l.in.held), nil
}

func (l *link) Write(p []byte) (int, error) { return l.out.write(p) }

func (l *link) Flush(context.Context) error {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.broken
}

func (l *link) Stalled() bool {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.full
}

func (l *link) WaitEnd(halfClosed func()) error {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	for l.in.broken == nil {
		if l.in.ended && halfClosed != nil {
			halfClosed()
			halfClosed = nil
		}
		l.in.change.Wait()
	}
	return l.in.broken
}

func (l *link) CloseWrite() error { l.out.end(); return nil }
func (l *link) CloseRead() error  { l.in.end(); return nil }

func (l *link) Reset() error {
	l.once.Do(func() {
		l.out.breakWith(errReset)
		l.in.breakWith(errClosed)
	})
	return nil
}

func (l *link) Close() error {
	l.once.Do(func() {
		l.out.end()
		l.in.breakWith(errClosed)
	})
	return nil
}

// send writes all of p, as a peer.
func (l *link) send(p []byte) error {
	for len(p) > 0 {
		n, err := l.Write(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// receive reads to the end, as a peer. The error is nil at a clean end.
func (l *link) receive() ([]byte, error) {
	var all []byte
	p := make([]byte, 32<<10)
	for {
		n, err := l.Read(func() []byte { return p }, func([]byte) {})
		all = append(all, p[:n]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A mood is the behavior of a session when the host drains.
type mood int32

const (
	lively   mood = iota // it sends all its frames, as without a drain
	hurried              // it ends both directions after the next frame
	silent               // it sends nothing more, but does not end its directions
	stubborn             // it sends until it is cut
)

// A session is a connection to framehost, with the connection that framehost makes for it.
type session struct {
	*world
	id    uint64
	route *route
	mood  atomic.Int32
	calm  bool // pauses between frames
	plan  [2]int
	ways  [2]way // to the upstream, to the downstream

	attached chan struct{} // closed when the server has the other end
	served   chan struct{} // closed when the server is done with it
	attach   sync.Once
}

// A way is one direction of a session. Its sender and its receiver each write their own fields; other goroutines read the fields when both
// are done.
type way struct {
	letter   byte
	sent     int  // frames
	finished bool // the sender ended the direction
	received int
	end      error // how the direction ended; io.EOF: cleanly
}

func newSession(w *world, id uint64, r *route, random *rand.Rand) *session {
	s := &session{world: w, id: id, route: r, attached: make(chan struct{}), served: make(chan struct{})}
	s.calm = random.IntN(3) > 0
	for i, letter := range []byte{'u', 'd'} {
		s.ways[i].letter = letter
		s.plan[i] = 1 + random.IntN(1500)
		if !s.calm {
			s.plan[i] *= 4
		}
	}
	return s
}

// run runs the client's end, and judges the session when both ends are done.
func (s *session) run(ctx context.Context, conn net.Conn) {
	s.converse(ctx, conn, &s.route.from, &s.ways[0], &s.ways[1], nil)
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-s.attached:
	case <-ctx.Done():
		return
	default:
		if !errors.Is(s.ways[1].end, io.EOF) {
			s.wrongEnd("before the upstream had a frame: %v", s.ways[1].end)
			return
		}
	}
	select {
	case <-s.served:
		s.judge(ctx)
	case <-ctx.Done():
	case <-wait.C:
		s.tally.wrong(&s.tally.hung, "session %d, route %s: the upstream's end did not end", s.id, s.route.name)
	}
}

// serve runs the server's end. first is the first payload, which was already read from r.
func (s *session) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, first []byte) {
	taken := false
	s.attach.Do(func() { taken = true })
	if !taken {
		s.tally.wrong(&s.tally.corrupt, "session %d, route %s: another connection got its first frame", s.id, s.route.name)
		return
	}
	close(s.attached)
	defer close(s.served)
	s.converse(ctx, conn, &s.route.to, &s.ways[1], &s.ways[0], &opening{r, first})
}

// An opening is the data that the server read from a connection to find out its session.
type opening struct {
	reader *bufio.Reader
	first  []byte
}

// converse sends the direction out and receives the direction in, until both have ended.
func (s *session) converse(ctx context.Context, conn net.Conn, c *codec, out, in *way, begun *opening) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	heard := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { s.send(ctx, conn, c, out, heard) })
	s.receive(conn, c, in, begun)
	close(heard)
	if !errors.Is(in.end, io.EOF) {
		_ = conn.Close()
	}
	sender.Wait()
}

func (s *session) send(ctx context.Context, conn net.Conn, c *codec, out *way, heard <-chan struct{}) {
	index := 0
	if out.letter == 'd' {
		index = 1
	}
	random := rand.New(rand.NewPCG(s.settings.seed+s.id, uint64(out.letter)))
	b := bufio.NewWriterSize(conn, 32<<10)
	var payload, wire []byte
	for n := 0; ; n++ {
		m := mood(s.mood.Load())
		if m == lively && n >= s.plan[index] || m == hurried && n > 0 {
			break
		}
		if m == silent && n > 0 {
			if b.Flush() == nil {
				out.sent = n
			}
			select {
			case <-heard: // the host has ended it
			case <-ctx.Done():
			}
			return
		}
		payload = s.payloads.append(payload[:0], s.id, out.letter, n)
		wire = c.append(wire[:0], payload)
		_, err := b.Write(wire)
		pauses := s.calm && random.IntN(20) == 0 || m == stubborn
		if err == nil && (pauses || random.IntN(30) == 0) {
			err = b.Flush()
		}
		if err != nil {
			return
		}
		out.sent = n + 1
		if pauses && !pause(ctx, time.Duration(random.IntN(20))*time.Millisecond) {
			return
		}
	}
	if b.Flush() == nil && conn.(*net.TCPConn).CloseWrite() == nil {
		out.finished = true
	}
}

func (s *session) receive(conn net.Conn, c *codec, in *way, begun *opening) {
	var r *bufio.Reader
	if begun == nil {
		r = bufio.NewReaderSize(conn, 32<<10)
	} else {
		r = begun.reader
		s.check(in, begun.first)
	}
	for n := 0; ; n++ {
		if n%64 == 0 || r.Buffered() == 0 {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
		}
		payload, err := c.read(r)
		if err != nil {
			in.end = err
			return
		}
		s.check(in, payload)
	}
}

// check compares a payload with the payload that is due.
func (s *session) check(in *way, payload []byte) {
	want := s.payloads.append(nil, s.id, in.letter, in.received)
	if !bytes.Equal(payload, want) {
		s.tally.wrong(&s.tally.corrupt, "session %d, route %s: got %q, want %q", s.id, s.route.name, head(payload), head(want))
	}
	in.received++
	s.tally.frames.Add(1)
	s.tally.bytes.Add(int64(len(payload)))
}

func head(b []byte) []byte { return b[:min(len(b), 60)] }

// judge checks that the session went as it should, and counts everything that went wrong. Both ends must be done.
func (s *session) judge(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	s.tally.sessions.Add(1)
	for i := range s.ways {
		out, back := &s.ways[i], &s.ways[1-i]
		missing := out.sent - out.received
		clean := errors.Is(out.end, io.EOF)
		var timeout net.Error
		switch {
		case errors.As(out.end, &timeout) && timeout.Timeout():
			s.tally.wrong(&s.tally.hung, "%s: nothing for %v, %d of %d frames", s.about(out), patience, out.received, out.sent)
		case clean && missing != 0 && out.finished:
			s.tally.lost.Add(int64(missing) - 1)
			s.tally.wrong(&s.tally.lost, "%s: a clean end after %d of %d frames", s.about(out), out.received, out.sent)
		case clean && missing != 0:
			s.tally.wrong(&s.tally.early, "%s: a clean end after %d of %d frames, while more was sent",
				s.about(out), out.received, out.sent)
		case !clean:
			s.wrongEnd("%s: %v after %d of %d frames", s.about(out), out.end, out.received, out.sent)
		}
		if missing != 0 && errors.Is(back.end, io.EOF) && !back.finished {
			s.tally.wrong(&s.tally.falselyClean, "%s: its sender saw a clean end, and %d of %d frames had arrived",
				s.about(out), out.received, out.sent)
		}
	}
}

func (s *session) about(w *way) string {
	names := []string{"lively", "hurried", "silent", "stubborn"}
	return fmt.Sprintf("session %d (%s), route %s, %c", s.id, names[s.mood.Load()], s.route.name, w.letter)
}

// wrongEnd counts an unclean end. It is an error, except in a stubborn session, which framehost cuts.
func (s *session) wrongEnd(format string, args ...any) {
	if mood(s.mood.Load()) == stubborn {
		s.tally.cuts.Add(1)
		return
	}
	s.tally.wrong(&s.tally.innocents, format, args...)
}

// pause waits for d. It returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// Plugins that are killed under traffic cost only time: all bytes of all sessions arrive, once and in order.
func TestPluginsAreKilledUnderTraffic(t *testing.T) { onPlanes(t, pluginsAreKilledUnderTraffic) }

func pluginsAreKilledUnderTraffic(t *testing.T, plane string) {
	const sessions, kills = 4, 4
	e, err := startEcho(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	p := start(t, (&upstream{t, e.listener}).route("escaped", "netstring", ""), "--set", plane)
	ctx, enough := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	for i := range sessions {
		conn := p.dial("relay")
		traffic.Go(func() {
			if err := converse(ctx, conn, uint64(i)); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	for range kills {
		for _, name := range []string{"escape", "lenprefix"} {
			pid := p.plugin(name)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			p.awaitStatus("another process of "+name, func(s *control.Status) bool {
				for _, plugin := range s.Plugins {
					if plugin.Name == name {
						return plugin.Up && plugin.PID != pid
					}
				}
				return false
			})
		}
	}
	enough()
	traffic.Wait()
	s := p.status()
	if got := s.Routes[0].Closed; got["fin"] != sessions || len(got) != 1 {
		t.Errorf("sessions ended with %v, want %d fin", got, sessions)
	}
	for _, plugin := range s.Plugins {
		if plugin.Restarts != kills {
			t.Errorf("plugin %s: got %d restarts, want %d", plugin.Name, plugin.Restarts, kills)
		}
	}
}

// converse sends lines until ctx ends, and then ends its direction. It compares the received bytes with the sent bytes, up to the
// last.
func converse(ctx context.Context, conn *net.TCPConn, seed uint64) error {
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(conn)
		lines := newLines(seed)
		for ctx.Err() == nil {
			if _, err := w.Write(lines.next()); err != nil {
				sent <- err
				return
			}
		}
		_, err := w.WriteString("the last line\n")
		sent <- errors.Join(err, w.Flush(), conn.CloseWrite())
	}()
	err := compare(bufio.NewReader(conn), newLines(seed))
	return errors.Join(err, <-sent)
}

func compare(r *bufio.Reader, want *lines) error {
	for n := 1; ; n++ {
		got, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if string(got) == "the last line\n" {
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("after the last line: got %w, want the end", err)
			}
			return nil
		}
		if line := want.next(); string(got) != string(line) {
			return fmt.Errorf("line %d: got %q, want %q", n, got, line)
		}
	}
}

// lines generates pseudo-random lines that contain escapes.
type lines struct {
	random *rand.Rand
	line   []byte
}

func newLines(seed uint64) *lines { return &lines{random: rand.New(rand.NewPCG(seed, 0))} }

// next returns a line, which is valid until the next call.
func (l *lines) next() []byte {
	l.line = l.line[:0]
	for range l.random.IntN(500) {
		switch c := 'A' + byte(l.random.IntN(40)); c {
		case '\\':
			l.line = append(l.line, `\\`...)
		case '_':
			l.line = append(l.line, `\n`...)
		default:
			l.line = append(l.line, c)
		}
	}
	return append(l.line, '\n')
}

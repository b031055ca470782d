//go:build unix

package host

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// Killing plugins under traffic only costs time: every byte arrives, once and in order, both ways.
func TestPluginsAreKilled(t *testing.T) { onPlanes(t, pluginsAreKilled) }

func pluginsAreKilled(t *testing.T, plane string) {
	const sessions, kills = 3, 3
	up := listenUpstream(t)
	h := start(t, plane+fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, up.Addr()))
	var traffic sync.WaitGroup
	killing, enough := context.WithCancel(t.Context())
	for i := range uint64(sessions) {
		down := dialRoute(t, h, "r")
		peer := up.accept()
		traffic.Go(func() { sendLines(t, killing, down, i) })
		traffic.Go(func() {
			_, _ = io.Copy(peer, peer) // an echo; compareLines reports a failure
			_ = peer.CloseWrite()
		})
		traffic.Go(func() { compareLines(t, down, i) })
	}
	for range kills {
		for i, plugin := range h.Status().Plugins {
			if err := syscall.Kill(plugin.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			waitFor(t, h, func(s *control.Status) bool { return s.Plugins[i].Up && s.Plugins[i].PID != plugin.PID })
		}
	}
	enough()
	traffic.Wait()
	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].Closed["fin"] == sessions && len(s.Routes[0].Closed) == 1
	})
	for _, plugin := range h.Status().Plugins {
		if plugin.Restarts != kills {
			t.Errorf("plugin %s: got %d restarts, want %d", plugin.Name, plugin.Restarts, kills)
		}
	}
}

// lines returns a function that returns the next lines of an endless text, which depends only on seed.
func lines(seed uint64) func() []byte {
	random, n := rand.New(rand.NewPCG(seed, 0)), 0
	return func() []byte {
		n++
		return fmt.Appendf(nil, "%d:%d:%s\n", seed, n, bytes.Repeat([]byte("x"), random.IntN(2000)))
	}
}

const lastLine = "that is all\n"

// sendLines sends lines until ctx ends, then a last line, and ends its direction.
func sendLines(t *testing.T, ctx context.Context, to *net.TCPConn, seed uint64) { //nolint:revive // t comes first
	next := lines(seed)
	for ctx.Err() == nil {
		if _, err := to.Write(next()); err != nil {
			t.Errorf("session %d: %v", seed, err)
			return
		}
	}
	if _, err := io.WriteString(to, lastLine); err != nil {
		t.Errorf("session %d: %v", seed, err)
	}
	if err := to.CloseWrite(); err != nil {
		t.Errorf("session %d: %v", seed, err)
	}
}

// compareLines compares every byte up to the end of the stream with the bytes that were sent.
func compareLines(t *testing.T, from io.Reader, seed uint64) {
	r := bufio.NewReader(from)
	for next := lines(seed); ; {
		got, err := r.ReadBytes('\n')
		if err != nil {
			t.Errorf("session %d: %v, want the last line first", seed, err)
			return
		}
		if string(got) == lastLine {
			break
		}
		if want := next(); !bytes.Equal(got, want) {
			t.Errorf("session %d: got %.60q, want %.60q", seed, got, want)
			return
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("session %d: got %v after the last line, want %v", seed, err, io.EOF)
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
)

// The second signal ends what the first signal waits for: here, a stopped plugin.
func TestASecondSignalCuts(t *testing.T) { onPlanes(t, aSecondSignalCuts) }

func aSecondSignalCuts(t *testing.T, plane string) {
	u := newUpstream(t)
	p := start(t, "timeouts: {drain: 0s, codec: 0s}"+u.route("newline", "netstring", ""), "--set", plane)
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")
	stop(t, p.plugin("lenprefix"))
	send(t, conn, "two\n")
	p.awaitStatus("two frames", func(s *control.Status) bool { return s.Routes[0].ToUpstream.FramesIn == 2 })
	p.signal(syscall.SIGTERM)
	p.awaitMessage("ending")
	p.signal(syscall.SIGTERM)
	if code := p.awaitExit(); code != exitFailed {
		t.Errorf("got exit code %d, want %d", code, exitFailed)
	}
	p.awaitMessage("framehost: sessions were cut before they had delivered everything: 1 cut, 1 frames and 3 bytes not delivered")
	expectReset(t, upstream)
	p.awaitMessage("session ended", "reason", "drain_timeout", "frames_not_delivered_to_upstream", "1", "bytes_not_delivered_to_upstream", "3")
	p.awaitMessage("stopped", "ended", "1 drain_timeout", "frames_not_delivered", "1")
}

// stop stops a process, and returns when it no longer runs. The process can still be killed.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(patience); !stopped(t, pid); {
		if time.Now().After(limit) {
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

// stopped reports whether each thread of a process has stopped.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d: got %d threads (%v), want some", pid, len(threads), err)
	}
	for _, file := range threads {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if _, state, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return true
}

// A drain reports a session that waits for a stopped plugin, after it has reset the session's peers.
func TestDrainDoesNotWaitForAPlugin(t *testing.T) {
	u := newUpstream(t)
	p := start(t, "timeouts: {drain: 1ms, codec: 0s}"+u.route("newline", "netstring", ""))
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")
	stop(t, p.plugin("lenprefix"))
	send(t, conn, "two\n")
	p.awaitStatus("two frames", func(s *control.Status) bool { return s.Routes[0].ToUpstream.FramesIn == 2 })
	framehost(t, "", "drain", "relay", "--socket", p.socket).wants(t, exitFailed,
		"route relay: 0 sessions ended; 1 reset, and waiting for a plugin that does not answer\n",
		"1 cut, 0 frames and 0 bytes not delivered; of 1 it is not known yet what, for their plugin has not answered\n")
	expectReset(t, upstream)
	expectReset(t, conn)
}

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/host/control"
)

// A framehost whose messages are not read goes on relaying, restarts a plugin, and ends when it gets a signal.
func TestNobodyReadsStandardError(t *testing.T) {
	tests := []struct {
		name string
		open func(t *testing.T) *os.File // opens the standard error and output of the process
	}{
		{"a pipe that is full", fullPipe},
		{"a pipe whose reader has gone", closedPipe},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := launchUnread(t, tt.open(t))
			r.carries("before")
			r.awaitSessions(0)
			for _, p := range r.status().Plugins {
				if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 20 { // many lines, although the first already finds the pipe full
				r.carries(fmt.Sprintf("session %d", i))
			}
			r.awaitSessions(0)
			for _, p := range r.status().Plugins {
				if !p.Up || p.Restarts != 1 {
					t.Errorf("plugin %s: got up %t after %d restarts, want it up after 1", p.Name, p.Up, p.Restarts)
				}
			}
			if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := r.awaitExit(); code != exitOK {
				t.Errorf("got exit code %d, want %d", code, exitOK)
			}
		})
	}
}

// A mistake in the configuration has its exit code, whether or not its message is read.
func TestNobodyReadsAnError(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "framehost", "run", "-c", "nowhere.yaml")
	cmd.Stderr = fullPipe(t)
	ended := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer ended.Stop()
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitUsage {
		t.Errorf("got %s, want exit code %d", cmd.ProcessState, exitUsage)
	}
}

// A command that prints its result and ends waits for its reader. The first signal ends its work, the second its wait.
func TestNobodyReadsACommand(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "framehost", "decode", "newline")
	cmd.Stderr = fullPipe(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The command is running when it answers. It has an error to print when its input ends inside a frame.
	if _, err := io.WriteString(in, "whole\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "par"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case <-exited:
			return
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-limit.C:
			_ = cmd.Process.Kill()
			t.Fatal("SIGTERM does not end a command whose messages nobody reads")
		}
	}
}

// fullPipe returns the write end of a full pipe that is never read.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	fd := int(w.Fd()) // makes writes block, also in the processes that inherit it
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for fill := make([]byte, 1<<16); len(fill) > 0; {
		_, err := unix.Write(fd, fill)
		switch {
		case errors.Is(err, unix.EAGAIN):
			fill = fill[:len(fill)/2]
		case err != nil && !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// closedPipe returns the write end of a pipe whose read end is closed.
func closedPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// An unread is `framehost run` in a process whose messages are not read.
type unread struct {
	*testing.T
	cmd      *exec.Cmd
	socket   string
	address  string // where its route listens
	upstream net.Listener
	exited   chan struct{}
}

func launchUnread(t *testing.T, messages *os.File) *unread {
	t.Helper()
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &unread{T: t, socket: filepath.Join(dir, "control.sock"), exited: make(chan struct{})}
	r.upstream = listen(t)
	started := listen(t)
	file := filepath.Join(dir, "relay.yaml")
	// The second route connects when all routes have been started.
	configuration := fmt.Sprintf(`
control: {socket: %s}
codecs: [{name: line, profile: newline}]
routes:
  - {name: relay, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: line}}
  - {name: started, from: {dial: "tcp://%s", codec: none}, to: {dial: "tcp://%[3]s", codec: none}}
`, r.socket, r.upstream.Addr(), started.Addr())
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.CommandContext(context.Background(), "framehost", "run", "--log-level", "trace", "-c", file)
	r.cmd.Stdout, r.cmd.Stderr = messages, messages
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.exited)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.exited
	})
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := started.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			select {
			case accepted <- struct{}{}:
			default:
			}
		}
	}()
	select {
	case <-accepted:
	case <-r.exited:
		t.Fatalf("framehost ended: %s", r.cmd.ProcessState)
	case <-time.After(patience):
		t.Fatal("framehost does not start")
	}
	for _, route := range r.status().Routes {
		if route.Name == "relay" {
			r.address = strings.TrimPrefix(route.From, "listen tcp://")
		}
	}
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// carries sends text through a session, checks that it arrives, and ends the session.
func (r *unread) carries(text string) {
	r.Helper()
	conn := dial(r.T, r.address)
	send(r.T, conn, text+"\n")
	if err := r.upstream.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		r.Fatal(err)
	}
	to, err := r.upstream.Accept()
	if err != nil {
		r.Fatal(err)
	}
	upstream := prepared(r.T, to)
	expect(r.T, upstream, text+"\n")
	if err := errors.Join(conn.CloseWrite(), upstream.CloseWrite()); err != nil {
		r.Fatal(err)
	}
	expectEnd(r.T, upstream)
	expectEnd(r.T, conn)
}

// awaitSessions waits until the route that listens has n sessions.
func (r *unread) awaitSessions(n int) {
	r.Helper()
	for deadline := time.Now().Add(patience); ; {
		for _, route := range r.status().Routes {
			if route.Name == "relay" && len(route.Sessions) == n {
				return
			}
		}
		if time.Now().After(deadline) {
			r.Fatalf("sessions are not released; want %d", n)
		}
	}
}

func (r *unread) status() *control.Status {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	status, err := control.QueryStatus(ctx, r.socket)
	if err != nil {
		r.Fatal(err)
	}
	return status
}

func (r *unread) awaitExit() int {
	r.Helper()
	select {
	case <-r.exited:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		r.Fatal("SIGTERM does not end framehost")
		return 0
	}
}

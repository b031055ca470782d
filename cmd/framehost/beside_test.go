//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A running configuration can be checked: a port or file that its own process uses is only a warning, which says so.
func TestCheckBesideARunningOne(t *testing.T) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	other := listen(t)
	port := other.Addr().(*net.TCPAddr).Port
	more := fmt.Sprintf("%s\n  - {name: own, from: {listen: \"tcp://%s\", codec: down}, to: {dial: \"tcp://127.0.0.1:1\", codec: up}}\n"+
		"  - {name: other, from: {listen: \"tcp://127.0.0.1:%d\", codec: down}, to: {dial: \"tcp://127.0.0.1:1\", codec: up}}\n",
		u.route("newline", "netstring", ""), p.address("relay"), port)
	file := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "framehost", "check", "-c", file, "--set", "control.socket="+p.socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	running := fmt.Sprintf("in use by framehost, process %d, which runs %s (warning)", p.cmd.Process.Pid, p.file)
	for _, want := range []string{
		"control.socket: " + running,
		"routes[1].from.listen: " + running,
		"routes[2].from.listen: in use by another process (warning)",
		": ok: 3 routes, 2 codecs, 0 plugins",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got\n%s\nwant in it: %s", out, want)
		}
	}
	// The check took no connections, and did not change the sockets.
	conn := p.dial("relay")
	send(t, conn, "one\n")
	expect(t, u.accept(), "3:one,")
}

// A second process with the default control socket says which process answers there.
func TestSecondAtTheDefaultControlSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	file := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(file, []byte(newUpstream(t).route("newline", "netstring", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	first := launch(t, "", "-c", file)
	first.awaitReady()
	second := launch(t, "", "-c", file)
	second.awaitReady()
	second.awaitMessage("framehost status shows another process, which has the default control socket; set control.socket to see this one",
		"path", filepath.Join(dir, "framehost.sock"),
		"other", fmt.Sprintf("framehost, process %d, which runs %s", first.cmd.Process.Pid, file))
	out, err := exec.CommandContext(t.Context(), "framehost", "status").Output()
	if want := fmt.Sprintf(", process %d, ", first.cmd.Process.Pid); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("status: got %v and\n%s\nwant in it %q", err, out, want)
	}
}

// A signal during the start ends framehost in good order, without an error about the configuration.
func TestEndedWhileStarting(t *testing.T) {
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fifo := filepath.Join(dir, "begun")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "slow")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho begun > "+fifo+"\nexec cat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "relay.yaml")
	configuration := `
plugins: [{name: slow, path: ./slow}]
codecs: [{name: a, plugin: slow}]
routes: [{name: r, from: {listen: "tcp://127.0.0.1:0", codec: a}, to: {dial: "tcp://127.0.0.1:1", codec: a}}]
`
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "check"} {
		t.Run(command, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "framehost", command, "-c", file)
			var said strings.Builder
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// The plugin has started when it has written, and closed its end: one that writes into a pipe without a reader dies of it.
			if _, err := os.ReadFile(fifo); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			want, message := exitOK, "ended while it was starting"
			if command == "check" {
				want, message = exitFailed, "framehost: interrupted\n"
			}
			// On a busy machine, run may go on without the plugin before the signal arrives; it then ends in good order too.
			if code := cmd.ProcessState.ExitCode(); code != want {
				t.Errorf("got %s, want exit code %d; it said\n%s", cmd.ProcessState, want, said.String())
			}
			if !strings.Contains(said.String(), message) && !strings.Contains(said.String(), "stopped") {
				t.Errorf("got\n%s\nwant %q", said.String(), message)
			}
		})
	}
}

// A signal ends each command while it reads its configuration from a pipe that has no data.
func TestEndedWhileReading(t *testing.T) {
	tests := []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{"run"}, exitOK, "framehost: ended while it was reading "},
		{[]string{"check"}, exitFailed, "framehost: interrupted\n"},
		{[]string{"status"}, exitFailed, "framehost: interrupted\n"},
		{[]string{"plugin", "list"}, exitFailed, "framehost: interrupted\n"},
		{[]string{"encode", "newline"}, exitFailed, "framehost: interrupted\n"},
	}
	for _, tt := range tests {
		t.Run(tt.args[0], func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "relay.yaml")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "framehost", append(tt.args, "-c", fifo)...)
			var said strings.Builder
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			writer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // OpenFile waits until the command opens it
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(said.String(), tt.message) {
				t.Errorf("got %s and\n%s\nwant exit code %d and %q", cmd.ProcessState, said.String(), tt.code, tt.message)
			}
		})
	}
}

// A default control socket in a directory that other users can change is not asked: another user may have made it.
func TestDefaultControlSocketOfOthers(t *testing.T) {
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	file := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(file, []byte(newUpstream(t).route("newline", "netstring", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, filepath.Join(dir, "framehost.sock"), "-c", file).awaitReady()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"violations"}, {"drain", "relay"}, {"check", "--running"}} {
		out, err := exec.CommandContext(t.Context(), "framehost", args...).CombinedOutput()
		var exit *exec.ExitError
		if want := "control socket: " + dir; !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(out), want) {
			t.Errorf("%v: got %v and %q, want exit code %d and %q", args, err, out, exitFailed, want)
		}
	}
}

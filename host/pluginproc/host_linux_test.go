package pluginproc

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A hostProcess is a host in a process of its own, with one plugin.
type hostProcess struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Scanner
}

// startHost starts a host from the binary at path. The host starts the test program called plugin or, if plugin is "", the built-in plugin.
func startHost(t *testing.T, path, plugin string) *hostProcess {
	t.Helper()
	h := &hostProcess{cmd: exec.CommandContext(testContext(t), path, programCommand, "host")}
	tmp, err := os.MkdirTemp("/tmp", "host") // a killed host leaves its socket directory here
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Env = append(os.Environ(), "HOST_PLUGIN="+plugin, "TMPDIR="+tmp)
	h.cmd.Stderr = os.Stderr
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.stdin, h.stdout = stdin, bufio.NewScanner(stdout)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.stdin.Close()
		_ = h.cmd.Wait()
		os.RemoveAll(tmp)
	})
	return h
}

// plugin waits for the host's next plugin process and returns its number.
func (h *hostProcess) plugin(t *testing.T) int {
	t.Helper()
	if !h.stdout.Scan() {
		t.Fatalf("the host has ended: %v", h.stdout.Err())
	}
	pid, err := strconv.Atoi(h.stdout.Text())
	if err != nil {
		t.Fatalf("the host said %q", h.stdout.Text())
	}
	return pid
}

// A witness is a descriptor of a process that need not be a child; with it, a test can wait for the end of the process.
type witness int

func watch(t *testing.T, pid int) witness {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return witness(fd)
}

// ended waits for the end of the process, and reports whether it ended within that time.
func (w witness) ended(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w), Events: unix.POLLIN}}, int(max(0, time.Until(deadline).Milliseconds())))
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}

func TestPluginEndsWithItsHost(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, plugin string }{
		{"built in", ""},
		{"does not listen to its standard input", "deaf"},
		{"is not reported by the kernel that its host died", "not-reported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host := startHost(t, path, test.plugin)
			plugin := watch(t, host.plugin(t))
			if plugin.ended(0) {
				t.Fatal("the plugin ended before its host")
			}
			if err := host.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if !plugin.ended(bound) {
				t.Error("the plugin lives on")
			}
		})
	}
}

// The kernel kills a plugin when the thread that started it ends. Go ends threads, for example when a goroutine that is locked to its
// thread ends.
func TestPluginOutlivesTheThreadOfStart(t *testing.T) {
	var p *Plugin
	started := make(chan error)
	go func() {
		lockThreadForGood()
		var err error
		p, err = Start(t.Context(), program(t, "deaf"), quick(newJournal()))
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	first := pid(t, p)
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
		t.Error(err)
	}
	if now := pid(t, p); now != first {
		t.Errorf("process %d was replaced by %d: %v", first, now, p.Status().LastError)
	}
}

func TestBuiltInIsTheSameProgramWhenItsFileIsGone(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(t.TempDir(), "host")
	copyFile(t, path, mine)
	host := startHost(t, mine, "")
	first := host.plugin(t)
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("#!/bin/false\n"), 0o700); err != nil { // as an upgrade does
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := host.plugin(t)
	exe, err := os.Readlink("/proc/" + strconv.Itoa(second) + "/exe")
	if err != nil || !strings.HasSuffix(exe, "(deleted)") {
		t.Errorf("executes %q, %v", exe, err)
	}
}

//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs/codecshm"
	"github.com/framehost/framehost/host/control"
)

// patience is how long a test waits for an event that should happen at once, before the test fails.
const patience = 2 * time.Minute

// A process is `framehost run` in a separate process: the test binary under another name.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	file   string // its configuration
	socket string // its control socket
	stdout bytes.Buffer
	exited chan struct{}
	code   int // its exit code

	mu      sync.Mutex
	log     []entry
	changed chan struct{} // closed when log grows, and replaced
}

// An entry is a line of the log. Lines that are not JSON have a message only.
type entry map[string]any

func (e entry) text(key string) string {
	text, _ := e[key].(string)
	return text
}

// onPlanes runs a test for each data plane that this system has. The test gets the setting that selects the data plane.
func onPlanes(t *testing.T, test func(t *testing.T, plane string)) {
	t.Helper()
	for _, plane := range []string{"grpc", "shm"} {
		t.Run(plane, func(t *testing.T) {
			if err := codecshm.Supported(); plane == "shm" && err != nil {
				t.Skip(err)
			}
			test(t, "data_plane="+plane)
		})
	}
}

// start runs framehost with a configuration, and returns when framehost is ready. The process ends with the test.
func start(t *testing.T, configuration string, args ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "fh") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, filepath.Join(dir, "control.sock"), append([]string{"-c", file}, args...)...)
	p.file = file
	p.awaitReady()
	return p
}

// launch starts framehost run with arguments. The process ends with the test.
func launch(t *testing.T, socket string, args ...string) *process {
	t.Helper()
	args = append([]string{"run", "--log-format", "json", "--set", "control.socket=" + socket}, args...)
	p := &process{T: t, socket: socket, exited: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.CommandContext(context.Background(), "framehost", args...) // see TestMain
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.follow(stderr)
	t.Cleanup(func() {
		p.end()
		for _, e := range p.log {
			if strings.Contains(e.text("@message"), "DATA RACE") {
				t.Error("framehost has a data race")
			}
		}
		if t.Failed() {
			for _, e := range p.log {
				t.Log(e)
			}
		}
	})
	return p
}

// follow reads the log to its end, and then waits for the process.
func (p *process) follow(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := entry{}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = entry{"@message": lines.Text()}
		}
		p.mu.Lock()
		p.log = append(p.log, e)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	close(p.exited)
}

// await waits for a log entry that matches, from index from on. It returns the first such entry, and the index after it.
func (p *process) await(what string, from int, matches func(entry) bool) (entry, int) {
	p.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		p.mu.Lock()
		log, changed := p.log, p.changed
		p.mu.Unlock()
		for ; from < len(log); from++ {
			if matches(log[from]) {
				return log[from], from + 1
			}
		}
		select {
		case <-changed:
		case <-p.exited:
			p.mu.Lock()
			more := len(p.log) > from
			p.mu.Unlock()
			if !more {
				p.Fatalf("framehost exited with %d, want in its log: %s", p.code, what)
			}
		case <-limit.C:
			p.Fatalf("framehost's log has no: %s", what)
		}
	}
}

// awaitMessage waits for a log message with the given fields, as pairs of key and value.
func (p *process) awaitMessage(message string, fields ...string) entry {
	p.Helper()
	e, _ := p.await(fmt.Sprint(message, fields), 0, func(e entry) bool {
		for i := 0; i < len(fields); i += 2 {
			if fmt.Sprint(e[fields[i]]) != fields[i+1] {
				return false
			}
		}
		return strings.HasPrefix(e.text("@message"), message)
	})
	return e
}

func (p *process) awaitReady() {
	p.Helper()
	p.awaitMessage("ready")
}

// address returns the HOST:PORT where a route listens, from the log.
func (p *process) address(route string) string {
	p.Helper()
	return strings.TrimPrefix(p.awaitMessage("route started", "route", route).text("from"), "listen tcp://")
}

// dial connects to a route. The connection is closed with the test.
func (p *process) dial(route string) *net.TCPConn {
	p.Helper()
	return dial(p.T, p.address(route))
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return prepared(t, conn)
}

// prepared sets a deadline on conn, so that it can't block the test forever, and closes conn with the test.
func prepared(t *testing.T, conn net.Conn) *net.TCPConn {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// end ends the process with repeated SIGTERMs, so that the process removes the files that it made: the second SIGTERM cuts what the
// first waits for. If there are no signals, or if they have no effect, end kills the process and its plugins.
func (p *process) end() {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for p.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-p.exited:
			return
		case <-again.C:
		case <-limit.C:
			p.Error("framehost does not end")
			_ = p.cmd.Process.Kill()
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// signal sends s.
func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// awaitExit waits for the end of the process and returns its exit code.
func (p *process) awaitExit() int {
	p.Helper()
	select {
	case <-p.exited:
		return p.code
	case <-time.After(patience):
		p.Fatal("framehost does not end")
		return 0
	}
}

// status returns the status of the process, from the real command.
func (p *process) status() *control.Status {
	p.Helper()
	out, err := exec.CommandContext(p.Context(), "framehost", "status", "--json", "--socket", p.socket).Output()
	if err != nil {
		p.Fatalf("status: %v", err)
	}
	var s control.Status
	if err := json.Unmarshal(out, &s); err != nil {
		p.Fatal(err)
	}
	return &s
}

// awaitStatus asks for the status until it is as wanted.
func (p *process) awaitStatus(what string, matches func(*control.Status) bool) *control.Status {
	p.Helper()
	limit := time.Now().Add(patience)
	for {
		if s := p.status(); matches(s) {
			return s
		}
		if time.Now().After(limit) {
			p.Fatalf("status does not come to show: %s", what)
		}
	}
}

// rewrite replaces the configuration and makes the process reload it. It returns how many entries the log had before.
func (p *process) rewrite(configuration string) int {
	p.Helper()
	if err := os.WriteFile(p.file, []byte(configuration), 0o600); err != nil {
		p.Fatal(err)
	}
	p.mu.Lock()
	n := len(p.log)
	p.mu.Unlock()
	p.signal(syscall.SIGHUP)
	return n
}

// An upstream is the listener to which a route of a test dials.
type upstream struct {
	*testing.T
	net.Listener
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &upstream{t, l}
}

// accept returns the next connection, which is closed with the test.
func (u *upstream) accept() *net.TCPConn {
	u.Helper()
	if err := u.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		u.Fatal(err)
	}
	conn, err := u.Accept()
	if err != nil {
		u.Fatal(err)
	}
	return prepared(u.T, conn)
}

// route returns a configuration with one route, called relay, from any free port to u. Its codecs are profiles.
func (u *upstream) route(downstreamProfile, upstreamProfile, more string) string {
	return fmt.Sprintf(`
codecs:
  - {name: down, profile: %s}
  - {name: up, profile: %s}
routes:
  - name: relay
    from: {listen: "tcp://127.0.0.1:0", codec: down}
    to: {dial: "tcp://%s", codec: up}
%s`, downstreamProfile, upstreamProfile, u.Addr(), more)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly text.
func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(conn, got); string(got) != text {
		t.Fatalf("got %q (%v), want %q", got[:n], err, text)
	}
}

// expectEnd reads a clean end.
func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Fatalf("got %q and %v, want the end of the stream", rest, err)
	}
}

// needs skips a test if a program is not installed. In CI, the test fails instead.
func needs(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, which CI needs", name)
	}
	t.Skipf("%s is not installed", name)
}

// plugin returns the id of a plugin's process.
func (p *process) plugin(name string) int {
	p.Helper()
	for _, plugin := range p.status().Plugins {
		if plugin.Name == name {
			return plugin.PID
		}
	}
	p.Fatalf("status: there is no plugin %s", name)
	return 0
}

// pids returns the process ids of the process and its plugins.
func (p *process) pids() []int {
	p.Helper()
	pids := []int{p.cmd.Process.Pid}
	for _, plugin := range p.status().Plugins {
		pids = append(pids, plugin.PID)
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == 0 })
}

//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// checked runs check --running against the process, with FILE unless it is "".
func (p *process) checked(file string, args ...string) ran {
	p.Helper()
	args = append([]string{"check", "--running", "--socket", p.socket}, args...)
	if file != "" {
		args = append(args, "-c", file)
	}
	return framehost(p.T, "", args...)
}

// wants checks an exit code, and that standard output and standard error contain certain lines.
func (r ran) wants(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Errorf("got exit code %d, standard output\n%sand standard error\n%swant %d,\n%s\nand\n%s",
			r.code, r.stdout, r.stderr, code, stdout, stderr)
	}
}

// check --running says for each route what SIGHUP would do, and changes nothing itself.
func TestCheckRunning(t *testing.T) {
	u := newUpstream(t)
	route := func(name, more string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: line}%s}\n",
			name, u.Addr(), more)
	}
	const head = "codecs: [{name: line, profile: newline}]\nroutes:\n"
	p := start(t, head+route("kept", "")+route("changed", "")+route("gone", ""), "--set", "log.wire_bytes=8")
	var conns []string
	for _, name := range []string{"kept", "changed", "gone"} {
		conn := p.dial(name)
		send(t, conn, "hi\n")
		expect(t, u.accept(), "hi\n")
		conns = append(conns, conn.LocalAddr().String())
	}
	runs := fmt.Sprintf("framehost, process %d, runs %s\n", p.cmd.Process.Pid, p.file)
	// The flags of run count as in a reload, and the file is found without -c.
	unchanged := runs + `a reload would be accepted, and change nothing
unchanged: route kept: 1 session keeps the values that it began with
unchanged: route changed: 1 session keeps the values that it began with
unchanged: route gone: 1 session keeps the values that it began with
`
	for _, file := range []string{"", p.file} {
		if got := p.checked(file); got.code != exitOK || got.stdout != unchanged || got.stderr != "" {
			t.Errorf("got %+v, want 0 and\n%s", got, unchanged)
		}
	}

	next := filepath.Join(filepath.Dir(p.file), "next.yaml")
	write := func(configuration string) {
		t.Helper()
		if err := os.WriteFile(next, []byte(configuration), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	after := "log: {level: debug}\n" + head + route("kept", "") + route("changed", ", timeouts: {idle: 1h}") + route("new", "")
	write(after)
	want := runs + "note: a reload reads that file; the following is about " + next + `
a reload would be accepted:
at once: log.level: info -> debug
unchanged: route kept: 1 session keeps the values that it began with
changed: route changed: 1 session keeps the values that it began with
  timeouts.idle: 0s -> 1h0m0s
added: route new
removed: route gone: it stops listening; 1 session keeps the values that it began with
`
	if got := p.checked(next); got.code != exitOK || got.stdout != want || got.stderr != "" {
		t.Errorf("got %+v, want 0 and\n%s", got, want)
	}
	var preview control.Preview
	got := p.checked(next, "--json")
	if err := json.Unmarshal([]byte(got.stdout), &preview); err != nil || got.code != exitOK || !preview.Accepted ||
		len(preview.Routes) != 4 || preview.Routes[1].Values[0].Key != "timeouts.idle" || preview.Routes[3].Sessions != 1 {
		t.Errorf("got %+v and %v, want the same as JSON", got, err)
	}

	write("limits: {memory: 2GiB}\n" + after)
	p.checked(next).wants(t, exitUsage,
		"a reload would be refused, and change nothing; the differences:\nneeds a restart: limits.memory: 1GiB -> 2GiB\n",
		fmt.Sprintf("framehost: process %d would refuse a reload: only a restart can change limits.memory\n", p.cmd.Process.Pid))
	p.checked(next, "--json").wants(t, exitUsage, `"accepted": false`, "limits.memory")
	write(strings.ReplaceAll(after, "profile: newline", "profile: newlin"))
	p.checked(next).wants(t, exitUsage, "", "did you mean newline?")
	write("routes: []")
	p.checked(next).wants(t, exitUsage, "", "got no routes")
	write(after + strings.ReplaceAll(route("taken", ""), "127.0.0.1:0", u.Addr().String()))
	p.checked(next).wants(t, exitUsage, "", "routes[3].from.listen: in use by another process")

	// A reload does what check said, and nothing was changed before it.
	n := p.rewrite(after)
	p.await("configuration reloaded", n, func(e entry) bool {
		return e.text("@message") == "configuration reloaded" && fmt.Sprint(e["added"], e["changed"], e["removed"], e["unchanged"]) == "1 1 1 1"
	})
	for _, r := range p.status().Routes {
		for _, s := range r.Sessions {
			for i := range conns {
				if s.Downstream == conns[i] {
					conns[i] = ""
				}
			}
		}
	}
	if left := strings.Join(conns, ""); left != "" {
		t.Errorf("sessions from %s have ended", left)
	}
	p.checked("").wants(t, exitOK, "a reload would be accepted, and change nothing\n", "")
}

// If no framehost runs, the exit code is 1, unless the file is wrong. The flags of --running require --running.
func TestCheckRunningOfNothing(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "s"), filepath.Join(dir, "relay.yaml")
	write := func(profile string) {
		t.Helper()
		configuration := "codecs: [{name: c, profile: " + profile + "}]\nroutes: []\n"
		if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("crlf")
	framehost(t, "", "check", "--running", "-c", file, "--socket", socket).wants(t, exitFailed, "",
		"framehost: no framehost runs here with the control socket "+socket+": it does not exist\n")
	write("crl")
	framehost(t, "", "check", "--running", "-c", file, "--socket", socket).wants(t, exitUsage, "", "did you mean crlf?")
	framehost(t, "", "check", "-c", file, "--json").wants(t, exitUsage, "", "--running")
	framehost(t, "", "check", "--running", "--set", "log.level=info").wants(t, exitUsage, "", "running set")
}

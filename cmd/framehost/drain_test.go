//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// twoRoutes returns a configuration with routes a and b, which have these settings.
func (u *upstream) twoRoutes(a, b string) string {
	const route = "  - {name: %s, %s, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: counted}}\n"
	return "codecs: [{name: line, profile: newline}, {name: counted, profile: netstring}]\nroutes:\n" +
		fmt.Sprintf(route, "a", a, u.Addr()) + fmt.Sprintf(route, "b", b, u.Addr())
}

// drain ends the sessions of one route: after a reload all of them, or only the outdated ones. Other sessions go on.
func TestDrainCommand(t *testing.T) { onPlanes(t, drainCommand) }

func drainCommand(t *testing.T, plane string) {
	u := newUpstream(t)
	p := start(t, u.twoRoutes("timeouts: {idle: 1h}", "timeouts: {drain: 10ms}"), "--set", plane)
	open := func(route string) [2]*net.TCPConn {
		down := p.dial(route)
		send(t, down, "hi\n")
		up := u.accept()
		expect(t, up, "2:hi,")
		return [2]*net.TCPConn{down, up}
	}
	endWell := func(pair [2]*net.TCPConn) {
		t.Helper()
		for _, c := range pair {
			expectEnd(t, c)
		}
		for _, c := range pair {
			_ = c.Close()
		}
	}
	drain := func(args ...string) <-chan ran {
		over := make(chan ran, 1)
		go func() { over <- framehost(t, "", append([]string{"drain", "--socket", p.socket}, args...)...) }()
		return over
	}
	outdated, other := open("a"), open("b")
	n := p.rewrite(u.twoRoutes("timeouts: {idle: 2h}", "timeouts: {drain: 10ms}"))
	p.await("configuration reloaded", n, func(e entry) bool { return e.text("@message") == "configuration reloaded" })
	fresh := open("a")

	over := drain("a", "--outdated")
	endWell(outdated)
	got := <-over
	if want := regexp.MustCompile(`^route a: 1 session ended: 1 drained\n\nSESSION  DOWNSTREAM +UPSTREAM +AGE  REASON   NOT DELIVERED\n` +
		`1        127\.0\.0\.1:\d+  127\.0\.0\.1:\d+  \ds +drained  -\n$`); got.code != exitOK || !want.MatchString(got.stdout) || got.stderr != "" {
		t.Errorf("got %+v, want 0 and %s", got, want)
	}
	over = drain("a", "--json")
	endWell(fresh)
	var report control.DrainReport
	got = <-over
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != exitOK || report.Reasons() != "1 drained" {
		t.Errorf("got %+v and %v, want one drained", got, err)
	}

	send(t, other[0], "unfin")
	p.awaitStatus("an unfinished frame", func(s *control.Status) bool { return s.Routes[1].ToUpstream.BytesWaiting == 5 })
	got = <-drain("b")
	got.wants(t, exitFailed, "route b: 1 session ended: 1 drain_timeout\n",
		"framehost: sessions were cut before they had delivered everything: 1 cut, 0 frames and 5 bytes not delivered\n")
	if !strings.Contains(got.stdout, "drain_timeout  5B\n") {
		t.Errorf("got %s, want 5B not delivered", got.stdout)
	}
	for _, c := range other {
		expectReset(t, c)
	}
	again := open("a")
	send(t, again[0], "still\n")
	expect(t, again[1], "5:still,")
}

// An interrupted drain only stops waiting: framehost goes on draining.
func TestDrainInterrupted(t *testing.T) {
	u := newUpstream(t)
	p := start(t, "timeouts: {drain: 0s}"+u.route("newline", "netstring", ""))
	conn := p.dial("relay")
	send(t, conn, "hi\nunfin")
	upstream := u.accept()
	expect(t, upstream, "2:hi,")
	p.awaitStatus("an unfinished frame", func(s *control.Status) bool { return s.Routes[0].ToUpstream.BytesWaiting == 5 })
	cmd := exec.CommandContext(t.Context(), "framehost", "drain", "relay", "--socket", p.socket)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.awaitMessage("draining: live sessions end as they come to rest")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	const want = "framehost: interrupted; framehost goes on to drain route relay, if it had begun to: see framehost status\n"
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.String() != want {
		t.Errorf("got exit code %d and %q, want %d and %q", code, &stderr, exitFailed, want)
	}
	send(t, conn, "ished\n")
	expect(t, upstream, "10:unfinished,")
	expectEnd(t, conn)
	expectEnd(t, upstream)
	_ = conn.Close()
	_ = upstream.Close()
	p.awaitMessage("drained", "ended", "1 drained")
}

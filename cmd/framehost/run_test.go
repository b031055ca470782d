//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// The embedded default configuration has fixed ports.
func TestRunWithoutAFile(t *testing.T) {
	for _, port := range []string{"7001", "7002"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Skipf("port %s is in use", port)
		}
		_ = l.Close()
	}
	dir, err := os.MkdirTemp("", "fh")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p := launch(t, filepath.Join(dir, "one.sock"))
	p.awaitReady()
	conn := dial(t, "127.0.0.1:7001")
	send(t, conn, "hello\n"+`two\nlines`+"\n")
	expect(t, conn, "hello\n"+`two\nlines`+"\n")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, conn)

	other := launch(t, filepath.Join(dir, "two.sock"))
	if code := other.awaitExit(); code != exitFailed {
		t.Errorf("a second one: got exit code %d, want %d", code, exitFailed)
	}
	other.awaitMessage("framehost: echo: listen tcp 127.0.0.1:7002: bind: address already in use")
	other.awaitMessage("  framehost config init -o relay.yaml")

	p.signal(syscall.SIGHUP)
	p.awaitMessage("there is no configuration file to read again")
	p.signal(syscall.SIGINT)
	if code := p.awaitExit(); code != exitOK {
		t.Errorf("got exit code %d, want %d", code, exitOK)
	}
	const want = `tcp://127.0.0.1:7001 (escaped) <-> tcp://127.0.0.1:7002 (iso8583-ascii4), which is an echo
try: framehost send escaped tcp://127.0.0.1:7001 "hello"
`
	if got := p.stdout.String(); got != want {
		t.Errorf("standard output: got\n%s\nwant\n%s", got, want)
	}
}

// When one direction has ended, the answer may follow in the other.
func TestHalfClose(t *testing.T) { onPlanes(t, halfClose) }

func halfClose(t *testing.T, plane string) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""), "--set", plane)
	conn := p.dial("relay")
	send(t, conn, "one\ntwo\n")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	upstream := u.accept()
	expect(t, upstream, "3:one,3:two,")
	expectEnd(t, upstream)
	send(t, upstream, "6:answer,")
	if err := upstream.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, "answer\n")
	expectEnd(t, conn)
	p.awaitMessage("session ended", "reason", "fin", "frames_to_upstream", "2", "frames_to_downstream", "1")
}

// A stream that is cut inside a frame does not look complete to the receiver, on either side.
func TestAStreamCutInsideAFrame(t *testing.T) { onPlanes(t, aStreamCutInsideAFrame) }

func aStreamCutInsideAFrame(t *testing.T, plane string) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""), "--set", plane)
	t.Run("by the client", func(t *testing.T) {
		conn := p.dial("relay")
		send(t, conn, "whole\npar")
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		upstream := u.accept()
		expect(t, upstream, "5:whole,")
		expectReset(t, upstream)
		p.awaitMessage("session ended", "reason", "fin_mid_frame", "direction", "to upstream")
	})
	t.Run("by the upstream", func(t *testing.T) {
		conn := p.dial("relay")
		upstream := u.accept()
		send(t, upstream, "5:whole,9:par")
		if err := upstream.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		expect(t, conn, "whole\n")
		expectReset(t, conn)
		p.awaitMessage("session ended", "reason", "fin_mid_frame", "direction", "to downstream")
	})
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
		t.Fatalf("got %q and %v, want ECONNRESET", rest, err)
	}
}

// After SIGTERM, sessions still deliver all bytes that framehost has received, even to a slow receiver.
func TestDrain(t *testing.T) { onPlanes(t, drainOn) }

func drainOn(t *testing.T, plane string) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""), "--set", plane)
	address := p.address("relay")
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")
	send(t, conn, "two\nthree\n")
	expect(t, upstream, "3") // so all of it was received
	p.signal(syscall.SIGTERM)
	p.awaitMessage("ending")
	expectEnd(t, conn)
	if refused, err := net.Dial("tcp", address); err == nil {
		_ = refused.Close()
		t.Error("a connection is accepted while framehost ends")
	}
	expect(t, upstream, ":two,5:three,")
	expectEnd(t, upstream)
	if err := errors.Join(conn.Close(), upstream.Close()); err != nil {
		t.Fatal(err)
	}
	if code := p.awaitExit(); code != exitOK {
		t.Errorf("got exit code %d, want %d", code, exitOK)
	}
	p.awaitMessage("session ended", "reason", "drained")
}

// A stream that its sender ended before SIGTERM arrives whole, even at a receiver that begins to read after SIGTERM, and both peers see
// clean ends.
func TestDrainAfterAHalfClose(t *testing.T) { onPlanes(t, drainAfterAHalfClose) }

func drainAfterAHalfClose(t *testing.T, plane string) {
	const frames = 8000
	payload := strings.Repeat("x", 2000)
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""), "--set", plane)
	conn := p.dial("relay")
	upstream := u.accept()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat(payload+"\n", frames))
		wrote <- errors.Join(err, conn.CloseWrite())
	}()
	expect(t, upstream, "2000:"+payload+",")
	p.signal(syscall.SIGTERM)
	p.awaitMessage("ending")
	got, err := io.ReadAll(upstream)
	if want := (frames - 1) * len("2000:"+payload+","); len(got) != want || err != nil {
		t.Errorf("the receiver got %d bytes after the first frame, and %v; want %d and a clean end", len(got), err, want)
	}
	if err := errors.Join(<-wrote, upstream.CloseWrite()); err != nil {
		t.Error(err)
	}
	expectEnd(t, conn)
	if code := p.awaitExit(); code != exitOK {
		t.Errorf("got exit code %d, want %d", code, exitOK)
	}
	// The session ends by itself or at rest: the receiver may need more than a second to read what the system holds for it.
	e := p.awaitMessage("session ended", "frames_to_upstream", strconv.Itoa(frames))
	if reason := e.text("reason"); reason != "fin" && reason != "drained" {
		t.Errorf("the session ended with %q, want fin or drained", reason)
	}
	p.awaitMessage("stopped", "frames_out", strconv.Itoa(frames), "frames_not_delivered", "0")
}

// SIGHUP applies the current file. Sessions of routes that stay go on; a file with mistakes changes nothing.
func TestReload(t *testing.T) { onPlanes(t, reloadOn) }

func reloadOn(t *testing.T, plane string) {
	u, other := newUpstream(t), newUpstream(t)
	before := u.route("newline", "netstring", "")
	p := start(t, before, "--set", plane)
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")

	from := p.rewrite(before + "\n  - name: wrong\n")
	e, from := p.await("an error of the file", from, func(e entry) bool { return e.text("@message") == "not reloaded" })
	if want := p.file + ":10:5: routes[1].from: "; !strings.HasPrefix(e.text("error"), want) {
		t.Errorf("got %q, want an error at %q", e.text("error"), want)
	}
	send(t, conn, "two\n")
	expect(t, upstream, "3:two,")

	p.rewrite(before + fmt.Sprintf(`
  - name: more
    from: {listen: "tcp://127.0.0.1:0", codec: down}
    to: {dial: "tcp://%s", codec: up}`, other.Addr()))
	p.await("the reload", from, func(e entry) bool { return e.text("@message") == "configuration reloaded" })
	send(t, conn, "three\n")
	expect(t, upstream, "5:three,")
	second := p.dial("more")
	send(t, second, "four\n")
	expect(t, other.accept(), "4:four,")
	if got := len(p.status().Routes); got != 2 {
		t.Errorf("status: got %d routes, want 2", got)
	}
}

// A reload that hangs, because the file has become a pipe without a writer, delays neither traffic nor the end of the process.
func TestReloadThatHangs(t *testing.T) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	conn := p.dial("relay")
	upstream := u.accept()
	if err := errors.Join(os.Remove(p.file), syscall.Mkfifo(p.file, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.signal(syscall.SIGHUP)
	}
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")
	p.signal(syscall.SIGTERM)
	expectEnd(t, conn)
	expectEnd(t, upstream)
	if err := errors.Join(conn.Close(), upstream.Close()); err != nil {
		t.Fatal(err)
	}
	if code := p.awaitExit(); code != exitOK {
		t.Errorf("got exit code %d, want %d", code, exitOK)
	}
	p.awaitMessage("stopped", "frames_out", "1")
}

// SIGHUP does nothing during the drain.
func TestReloadDuringTheDrain(t *testing.T) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "un") // the session does not rest
	p.awaitStatus("the session holds a part of a frame", func(s *control.Status) bool {
		return len(s.Routes[0].Sessions) == 1 && s.Routes[0].Sessions[0].ToUpstream.BytesWaiting == 2
	})
	p.signal(syscall.SIGTERM)
	p.awaitMessage("ending: sessions go on until they end or rest; another signal cuts them")
	p.signal(syscall.SIGHUP)
	send(t, conn, "finished\n")
	expect(t, upstream, "10:unfinished,")
	if err := errors.Join(conn.CloseWrite(), upstream.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if code := p.awaitExit(); code != exitOK {
		t.Errorf("got exit code %d, want %d", code, exitOK)
	}
}

// While streams flow, reloads that change their route end no stream early, close no other connection, and refuse no new one.
func TestReloadsUnderTraffic(t *testing.T) {
	const reloads, streams, frames = 23, 8, 2000
	u := newUpstream(t)
	configuration := u.route("newline", "netstring", "")
	p := start(t, configuration+"\ntimeouts: {idle: 100s}")
	address := p.address("relay")
	stop := make(chan struct{})
	var work sync.WaitGroup
	var early, refused, broken, whole atomic.Int64
	work.Go(func() { // the upstream counts the bytes of each stream, up to its end
		for {
			conn, err := u.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				got, err := io.ReadAll(conn)
				switch n := bytes.Count(got, []byte("5:hello,")); {
				case err != nil:
					broken.Add(1)
				case n != frames || len(got) != n*len("5:hello,"):
					early.Add(1)
				default:
					whole.Add(1)
				}
			})
		}
	})
	var senders sync.WaitGroup
	for range streams {
		senders.Go(func() {
			for ended := false; !ended; {
				select {
				case <-stop:
					ended = true // the stream ended after one more
				default:
				}
				conn, err := net.Dial("tcp", address)
				if err != nil {
					refused.Add(1)
					continue
				}
				for range frames / 100 {
					if _, err := io.WriteString(conn, strings.Repeat("hello\n", 100)); err != nil {
						broken.Add(1)
						break
					}
				}
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					broken.Add(1)
				}
				if _, err := io.Copy(io.Discard, conn); err != nil {
					broken.Add(1)
				}
				_ = conn.Close()
			}
		})
	}
	from := 0
	for i := range reloads {
		p.rewrite(configuration + fmt.Sprintf("\ntimeouts: {idle: %ds}", 101+i))
		_, from = p.await("the reload", from, func(e entry) bool { return e.text("@message") == "configuration reloaded" })
	}
	close(stop)
	senders.Wait()
	_ = u.Close()
	work.Wait()
	if early.Load() != 0 || broken.Load() != 0 || refused.Load() != 0 || whole.Load() == 0 {
		t.Errorf("in %d reloads: %d streams ended early, %d innocents closed, %d connects refused, %d streams whole; want 0, 0, 0 and some",
			reloads, early.Load(), broken.Load(), refused.Load(), whole.Load())
	}
	t.Logf("%d reloads: %d streams whole", reloads, whole.Load())
}

// Status shows routes, sessions and plugins in aligned columns.
func TestStatus(t *testing.T) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	conn := p.dial("relay")
	upstream := u.accept()
	send(t, conn, "one\n")
	expect(t, upstream, "3:one,")
	send(t, upstream, "6:answer,")
	expect(t, conn, "answer\n")

	for _, args := range [][]string{{"--socket", p.socket}, {"-c", p.file}} {
		cmd := exec.CommandContext(t.Context(), "framehost", append([]string{"status"}, args...)...)
		cmd.Env = append(os.Environ(), "FRAMEHOST_CONTROL_SOCKET="+p.socket)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
			got = append(got, lines.Text())
		}
		want := []string{
			`^framehost \S+, process \d+, up \d+s, runs .*/relay.yaml$`,
			`^1 connection, [\d.]+\w+ of memory for buffers \(of 1GiB\)$`,
			`^$`,
			`^PLUGIN     VERSION  PROCESS +SINCE +DATA PLANE +RESTARTS  LAST ERROR$`,
			`^escape     1\.0\.0    \d+ (\(spare \d+\))? *\d+s +(grpc|shm) \(.+\) +0         -$`,
			`^lenprefix  1\.0\.0    \d+ (\(spare \d+\))? *\d+s +(grpc|shm) \(.+\) +0         -$`,
			`^$`,
			`^ROUTE  FROM +TO +SESSIONS  ACCEPTED  REFUSED  TO UPSTREAM  TO DOWNSTREAM  DROPPED  ENDED$`,
			`^relay  listen tcp://127\.0\.0\.1:\d+ +dial tcp://127\.0\.0\.1:\d+ +1         1         0        1 frame, 6B  1 frame, 7B    -        -$`,
			`^$`,
			`^SESSION  ROUTE  AGE  DOWNSTREAM +CODEC  UPSTREAM +CODEC  TO UPSTREAM  TO DOWNSTREAM  DROPPED$`,
			`^1        relay  \d+s   127\.0\.0\.1:\d+ +down   127\.0\.0\.1:\d+ +up     1 frame, 6B  1 frame, 7B    -$`,
			`^$`,
			`^--json shows more: .+\.$`,
			`^framehost violations shows the last violations\.$`,
		}
		if len(got) != len(want) {
			t.Fatalf("got %d lines, want %d:\n%s", len(got), len(want), out)
		}
		for i := range want {
			if !regexp.MustCompile(want[i]).MatchString(got[i]) {
				t.Errorf("line %d: got\n%s\nwant\n%s", i+1, got[i], want[i])
			}
		}
	}
}

// The first route of the manual's configuration: the codec of a connection follows from its first bytes.
func TestSelect(t *testing.T) {
	u := newUpstream(t)
	p := start(t, fmt.Sprintf(`
codecs:
  - {name: scale,     plugin: escape,    options: {terminator: LF, escape: '\'}}
  - {name: mainframe, plugin: lenprefix, options: {width: 4, format: ascii_dec}, max_frame: 9999B}
  - {name: hl7,       profile: mllp}
routes:
  - name: scales
    from:
      listen: tcp://127.0.0.1:0
      codec: scale
      select:
        - {address: 10.1.0.0/16, codec: mainframe}
        - {starts_with: 0x0B, codec: hl7}
    to: {dial: "tcp://%s", codec: mainframe}
    on_violation: close
    timeouts: {idle: 10m}
`, u.Addr()))
	tests := []struct{ name, wire, relayed, answer, back string }{
		{"a scale", `12\n5` + "\n", "0004" + "12\n5", "0002ok", "ok\n"},
		{"hl7", "\x0bMSH|^~\\&\x1c\r", "0008MSH|^~\\&", "0003MSA", "\x0bMSA\x1c\r"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := p.dial("scales")
			send(t, conn, tt.wire)
			upstream := u.accept()
			expect(t, upstream, tt.relayed)
			send(t, upstream, tt.answer)
			expect(t, conn, tt.back)
		})
	}
}

// The log has no byte of a payload unless the configuration asks for it, and then no more bytes than it asks for.
func TestPayloadsAreNotLogged(t *testing.T) {
	tests := []struct{ name, bytes, want, secret string }{
		{"by default", "0", "", "xyzz"},
		{"asked for", "4", "xyzz", "xyzzy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, u.route("newline", "netstring", ""), "--log-level", "trace", "--set", "log.payload_bytes="+tt.bytes)
			conn := p.dial("relay")
			send(t, conn, "xyzzy\n")
			upstream := u.accept()
			expect(t, upstream, "5:xyzzy,")
			if err := errors.Join(conn.Close(), upstream.Close()); err != nil {
				t.Fatal(err)
			}
			p.awaitMessage("session ended")
			p.signal(syscall.SIGTERM)
			p.awaitExit()
			log := fmt.Sprint(p.log)
			if !strings.Contains(log, tt.want) {
				t.Errorf("the log does not have %q", tt.want)
			}
			if strings.Contains(log, tt.secret) {
				t.Errorf("the log has %q", tt.secret)
			}
		})
	}
}

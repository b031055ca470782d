package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A peer is a server for framehost send: it accepts one connection, and has the bytes that it received when the connection ended.
type peer struct {
	address  string
	received []byte
	err      error
	done     chan struct{}
}

// listenPeer returns a peer that calls serve with its connection, and then closes the connection.
func listenPeer(t *testing.T, network, address string, serve func(p *peer, conn net.Conn)) *peer {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{address: network + "://" + l.Addr().String(), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		conn, err := l.Accept()
		if err != nil {
			p.err = err
			return
		}
		defer conn.Close()
		serve(p, conn)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-p.done
	})
	return p
}

// replies reads everything, to the end of the client's direction, before it replies.
func replies(reply string) func(*peer, net.Conn) {
	return func(p *peer, conn net.Conn) {
		if p.received, p.err = io.ReadAll(conn); p.err == nil {
			_, p.err = io.WriteString(conn, reply)
		}
	}
}

// A ran is the result of a framehost process.
type ran struct {
	code           int
	stdout, stderr string
}

// framehost runs the command to its end.
func framehost(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "framehost", args...) // see TestMain
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestSend(t *testing.T) {
	dir, err := os.MkdirTemp("", "fh") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "payload")
	if err := os.WriteFile(file, []byte("two\nlines"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name            string
		codec           string
		args            []string
		stdin           string
		reply           string
		wantWire, want  string
		unix, bareAddr  bool
		wantCode        int
		wantStderrPiece string
	}{
		{name: "a line", codec: "escaped", args: []string{"hello"}, reply: "hi\n", wantWire: "hello\n", want: "hi\n"},
		{name: "several, one with what the framing escapes", codec: "escaped", args: []string{"a\nb", "", "c"}, reply: "1\\n2\n3\n",
			wantWire: "a\\nb\n\nc\n", want: "1\n2\n3\n", bareAddr: true},
		{name: "standard input", codec: "octet-counting", stdin: "two\nlines\n", reply: "2 ok", wantWire: "10 two\nlines\n", want: "ok\n"},
		{name: "standard input, each line", codec: "netstring", args: []string{"--lines"}, stdin: "a\n\nbc", wantWire: "1:a,0:,2:bc,", unix: true},
		{name: "a file", codec: "iso8583-ascii4", args: []string{"--file", file}, reply: "0002ok", wantWire: "0009two\nlines", want: "ok\n"},
		{name: "another codec comes back", codec: "lenprefix", args: []string{"-o", "width=1", "hi", "--reply-codec", "crlf"}, reply: "ho\r\nha\n",
			wantWire: "\x02hi", want: "ho\nha\n"},
		{name: "the reply is at fault", codec: "escaped", args: []string{"x"}, reply: "ok\n\\q\n", wantWire: "x\n", want: "ok\n", wantCode: 3,
			wantStderrPiece: "framehost: reply: malformed frame at offset 4 (its frame begins at offset 3): got 5C 71 "},
		{name: "the reply is not whole", codec: "escaped", args: []string{"x"}, reply: "ok\nno", wantWire: "x\n", want: "ok\n", wantCode: 3,
			wantStderrPiece: "framehost: reply: truncated frame at offset 5"},
		{name: "no reply", codec: "escaped", args: []string{"x"}, wantWire: "x\n"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			network, listens := "tcp", "127.0.0.1:0"
			if tt.unix {
				network, listens = "unix", filepath.Join(dir, string(rune('a'+i)))
			}
			p := listenPeer(t, network, listens, replies(tt.reply))
			address := p.address
			if tt.bareAddr {
				address = strings.TrimPrefix(address, "tcp://")
			}
			got := framehost(t, tt.stdin, append([]string{"send", tt.codec, address}, tt.args...)...)
			<-p.done
			if got.code != tt.wantCode || got.stdout != tt.want || !strings.Contains(got.stderr, tt.wantStderrPiece) {
				t.Errorf("got %+v\nwant exit code %d, %q and %q", got, tt.wantCode, tt.want, tt.wantStderrPiece)
			}
			if p.err != nil || string(p.received) != tt.wantWire {
				t.Errorf("the peer received %q and %v, want %q", p.received, p.err, tt.wantWire)
			}
		})
	}
}

// If a payload can't be sent, the stream before it must not look complete.
func TestSendIsCutAtAFault(t *testing.T) {
	p := listenPeer(t, "tcp", "127.0.0.1:0", replies(""))
	got := framehost(t, "", "send", "newline", p.address, "a", "b\nc")
	<-p.done
	const want = "framehost: text 2: payload cannot be represented: byte 1: got 0A 63, want "
	if got.code != exitFault || !strings.HasPrefix(got.stderr, want) {
		t.Errorf("got %+v, want exit code %d and %q", got, exitFault, want)
	}
	if p.err == nil {
		t.Errorf("the peer saw a clean end after %q, want a reset", p.received)
	}
}

// Replies are printed while there is more to send, and neither side waits for the other.
func TestSendStreams(t *testing.T) {
	p := listenPeer(t, "tcp", "127.0.0.1:0", func(p *peer, conn net.Conn) { _, p.err = io.Copy(conn, conn) })
	lines := strings.Repeat(strings.Repeat("x", 99)+"\n", 100_000)
	got := framehost(t, lines, "send", "escaped", p.address, "--lines")
	if got.code != exitOK || got.stdout != lines {
		t.Errorf("got exit code %d, %d bytes and %s, want the %d bytes that were sent", got.code, len(got.stdout), got.stderr, len(lines))
	}
}

func TestSendFails(t *testing.T) {
	t.Run("the peer resets", func(t *testing.T) {
		p := listenPeer(t, "tcp", "127.0.0.1:0", func(p *peer, conn net.Conn) {
			p.received, _ = io.ReadAll(conn)
			_ = conn.(*net.TCPConn).SetLinger(0)
		})
		if got := framehost(t, "", "send", "escaped", p.address, "x"); got.code != exitFailed || got.stderr == "" {
			t.Errorf("got %+v, want exit code %d", got, exitFailed)
		}
	})
	t.Run("the peer neither sends nor ends", func(t *testing.T) {
		over := make(chan struct{})
		p := listenPeer(t, "tcp", "127.0.0.1:0", func(_ *peer, conn net.Conn) {
			_, _ = io.WriteString(conn, "ok\n")
			<-over
		})
		defer close(over)
		got := framehost(t, "", "send", "escaped", p.address, "x", "--timeout", "50ms")
		want := ran{exitFailed, "ok\n", "framehost: " + p.address + " sent no byte for 50ms, and did not end the connection\n"}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		got := framehost(t, "", "send", "escaped", l.Addr().String(), "x")
		if got.code != exitFailed || !strings.HasPrefix(got.stderr, "framehost: dial tcp "+l.Addr().String()) {
			t.Errorf("got %+v, want exit code %d", got, exitFailed)
		}
	})
}

// Payloads are printed as they arrive, and a signal ends the wait for more.
func TestDecodeIsInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send")
	}
	cmd := exec.CommandContext(t.Context(), "framehost", "decode", "escaped")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(t.Context(), func() { _ = stdin.Close() })()
	if _, err := io.WriteString(stdin, "a\\nb\nunfinished"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(stdout, got); err != nil || string(got) != "a\nb\n" {
		t.Errorf("got %q and %v", got, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.String() != "framehost: interrupted\n" {
		t.Errorf("got exit code %d and %q, want %d", code, stderr.String(), exitFailed)
	}
}

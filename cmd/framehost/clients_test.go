//go:build unix

package main

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Messages from logger arrive in the other of the two framings of syslog.
func TestLogger(t *testing.T) {
	needs(t, "logger")
	tests := []struct {
		name, from, to string
		args           []string
		want           string
	}{
		{"newlines to counts", "newline", "octet-counting", nil, "25 <13>1 - - tag - - - hello"},
		{"counts to newlines", "octet-counting", "newline", []string{"--octet-count"}, "<13>1 - - tag - - - hello\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, u.route(tt.from, tt.to, ""))
			host, port, err := net.SplitHostPort(p.address("relay"))
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"-T", "-n", host, "-P", port, "--rfc5424=notime,notq,nohost", "-t", "tag"}, tt.args...)
			if out, err := exec.CommandContext(t.Context(), "logger", append(args, "hello")...).CombinedOutput(); err != nil {
				t.Fatalf("logger: %v\n%s", err, out)
			}
			upstream := u.accept()
			expect(t, upstream, tt.want)
			expectEnd(t, upstream)
		})
	}
}

// socat ends its direction when its input ends, and waits for the answer.
func TestHalfCloseWithSocat(t *testing.T) {
	needs(t, "socat")
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		conn, err := u.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		request, err := io.ReadAll(conn) // to the end of the direction
		if string(request) != "7:request," || err != nil {
			t.Errorf("upstream: got %q (%v), want %q", request, err, "7:request,")
		}
		if _, err := io.WriteString(conn, "5:first,6:second,"); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), "socat", "-t30", "-", "TCP:"+p.address("relay"))
	cmd.Stdin = strings.NewReader("request\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("socat: %v", err)
	}
	if got, want := string(out), "first\nsecond\n"; got != want {
		t.Errorf("socat: got %q, want %q", got, want)
	}
	<-answered
}

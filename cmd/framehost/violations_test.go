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

// skippedWires are wires of which all bytes before good are skipped.
var skippedWires = []struct{ name, codec, faulty, good, arrives string }{
	{"a byte before STX", "profile: stx-etx", "x\x02a\x03", "\x02b\x03", "b\n"},
	{"LF before VT", "profile: mllp", "\n\x0bM\x1c\r", "\x0bN\x1c\r", "N\n"},
	{"LF before a long message", "profile: mllp", "\n\x0b" + strings.Repeat("M", 200_000) + "\x1c\r", "\x0bN\x1c\r", "N\n"},
	{"an unknown escape", "profile: escaped", "\\qb\n", "c\n", "c\n"},
	{"a line too long", "profile: newline, max_frame: 2B", "abcdef\n", "gh\n", "gh\n"},
	{"base64 far too long", "plugin: base64, max_frame: 2B", strings.Repeat("QUJD", 100) + "\n", "aGk=\n", "hi\n"},
	{"no base64", "plugin: base64, max_frame: 2B", "!!\n", "aGk=\n", "hi\n"},
	{"too long for its terminator", "plugin: swapterm, max_frame: 2B", "abcdef\n", "gh\n", "gh\n"},
	{"a length beyond the limit", "profile: netstring, max_frame: 2B", "6:abcdef,", "2:gh,", "gh\n"},
}

// Quarantine keeps all skipped bytes, the log names the file, and `framehost violations` shows all of them.
func TestQuarantineKeepsEveryByte(t *testing.T) {
	onPlanes(t, func(t *testing.T, plane string) {
		u := newUpstream(t)
		dir := t.TempDir()
		var codecs, routes strings.Builder
		for i, tt := range skippedWires {
			fmt.Fprintf(&codecs, "  - {name: c%d, %s}\n", i, tt.codec)
			fmt.Fprintf(&routes, "  - {name: r%d, on_violation: quarantine, from: {listen: \"tcp://127.0.0.1:0\", codec: c%d}, to: {dial: \"tcp://%s\", codec: lines}}\n",
				i, i, u.Addr())
		}
		p := start(t, fmt.Sprintf("quarantine: {dir: %s}\ncodecs:\n  - {name: lines, profile: newline}\n%sroutes:\n%s", dir, &codecs, &routes),
			"--set", plane)
		for i, tt := range skippedWires {
			route := fmt.Sprintf("r%d", i)
			conn := p.dial(route)
			upstream := u.accept()
			for _, b := range []string{tt.faulty[:1], tt.faulty[1:], tt.good} { // cut where most faults lie
				send(t, conn, b)
			}
			expect(t, upstream, tt.arrives)
			_ = conn.Close()
			_ = upstream.Close()
			ended := p.awaitMessage("session ended", "route", route)
			if ended["@level"] != "warn" || fmt.Sprint(ended["bytes_skipped_to_upstream"]) != fmt.Sprint(len(tt.faulty)) ||
				fmt.Sprint(ended["violations_to_upstream"]) != "1" {
				t.Errorf("%s: the session ended with %v, want a warning, %d bytes skipped and 1 violation", tt.name, ended, len(tt.faulty))
			}
			skipped := p.awaitMessage("violation skipped", "route", route)
			file := skipped.text("quarantined")
			if filepath.Dir(file) != dir {
				t.Errorf("%s: the log says %v, want quarantined with a file", tt.name, skipped)
			}
			kept, err := os.ReadFile(file)
			if err != nil || string(kept) != tt.faulty {
				t.Errorf("%s: kept %d bytes %.40q, %v; want %d bytes %.40q", tt.name, len(kept), kept, err, len(tt.faulty), tt.faulty)
			}
			if got, want := skipped.text("got"), fmt.Sprintf("%x", tt.faulty[:1]); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want what begins with %s", tt.name, got, want)
			}
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != len(skippedWires) {
			t.Errorf("%d files are kept, %v, want %d", len(files), err, len(skippedWires))
		}

		var all []control.ViolationStatus
		if err := json.Unmarshal([]byte(p.ask("violations", "--json")), &all); err != nil || len(all) != len(skippedWires) {
			t.Fatalf("got %d violations, %v, want %d", len(all), err, len(skippedWires))
		}
		for i, v := range all {
			if v.Route != fmt.Sprintf("r%d", i) || v.Quarantined == "" || !v.Skipped || v.Peer == "" || v.Got == "" || v.Time.IsZero() {
				t.Errorf("got %+v", v)
			}
		}
		one := p.ask("violations", "r0")
		for _, want := range []string{"route r0", "malformed frame, skipped", "want STX at a frame's start", "78", `"x`, "kept in " + dir} {
			if !strings.Contains(one, want) {
				t.Errorf("got\n%s\nwant %s in it", one, want)
			}
		}
	})
}

// ask runs a framehost command that asks the running process, and returns its standard output.
func (p *process) ask(args ...string) string {
	p.Helper()
	ran := framehost(p.T, "", append(args, "--socket", p.socket)...)
	if ran.code != 0 {
		p.Fatalf("framehost %v exited with %d: %s", args, ran.code, ran.stderr)
	}
	return ran.stdout
}

// The announced length of a frame that is too long is a number, with the option that would allow it; none of its bytes are
// shown where log.wire_bytes is 0.
func TestTooLongIsReported(t *testing.T) {
	tests := []struct{ name, codec, wireBytes, wire, announced, allow, got string }{
		{"a request, read as a length", "plugin: lenprefix", "32", "GET / HTTP/1.1\r\n", "1195725856",
			"nothing (limits.max_frame is 1MiB, and can be 1GiB at most): these bytes are probably no length", "474554202f20485454502f312e310d0a"},
		{"a length that could be allowed", "plugin: lenprefix, max_frame: 16B", "4", "\x00\x00\x01\x00abcdef", "256",
			"max_frame of the codec long of at least 256B (it is 16B)", "00000100"},
		{"no bytes", "plugin: lenprefix, max_frame: 16B", "0", "\x00\x00\x01\x00abcdef", "256",
			"max_frame of the codec long of at least 256B (it is 16B)", ""},
		{"a line", "profile: newline, max_frame: 2B", "2", "abcdef\n", "<nil>", "a higher max_frame of the codec long (it is 2B)", "6162"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, fmt.Sprintf(`
log: {wire_bytes: %s}
codecs: [{name: long, %s}, {name: lines, profile: newline}]
routes: [{name: r, from: {listen: "tcp://127.0.0.1:0", codec: long}, to: {dial: "tcp://%s", codec: lines}}]`, tt.wireBytes, tt.codec, u.Addr()))
			conn := p.dial("r")
			send(t, conn, tt.wire)
			ended := p.awaitMessage("session ended")
			text, _ := ended["got"].(string)
			announced := "<nil>"
			if n, ok := ended["announced"].(float64); ok {
				announced = fmt.Sprintf("%.0f", n)
			}
			if announced != tt.announced || ended.text("allow") != tt.allow || text != tt.got {
				t.Errorf("got %v, want announced %s, allow %q, got %q", ended, tt.announced, tt.allow, tt.got)
			}
			if tt.got == "" && strings.Contains(fmt.Sprint(ended), "abc") {
				t.Errorf("got %v, want no byte of the frame", ended)
			}
			_ = conn.Close()
		})
	}
}

// Positions in the log count from the start of the stream, also for built payloads that can't be represented.
func TestPlacesOfUnrepresentable(t *testing.T) {
	tests := []struct{ name, codec, wire, offset, at, payloadAt string }{
		{"found in the wire", "profile: octet-counting", "3 a\nb", "2", "3", "1"},
		{"after another", "profile: octet-counting", "2 hi3 a\nb", "6", "7", "1"},
		{"built", "profile: escaped", "hi\na\\nb\n", "3", "3", "1"},
		{"built, after another that was built", "profile: escaped", "h\\\\\na\\nb\n", "4", "4", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, fmt.Sprintf(`
codecs: [{name: from, %s}, {name: lines, profile: newline}]
routes: [{name: r, on_violation: skip, from: {listen: "tcp://127.0.0.1:0", codec: from}, to: {dial: "tcp://%s", codec: lines}}]`, tt.codec, u.Addr()))
			conn := p.dial("r")
			send(t, conn, tt.wire)
			e := p.awaitMessage("violation skipped")
			for key, want := range map[string]string{"offset": tt.offset, "at": tt.at, "payload_at": tt.payloadAt, "got": "610a62"} {
				if got := fmt.Sprint(e[key]); got != want {
					t.Errorf("%s: got %s, want %s", key, got, want)
				}
			}
			_ = conn.Close()
		})
	}
}

// A frame that stays unfinished is reported with the bytes that have arrived and with what it lacks.
func TestFrameTimeoutIsReported(t *testing.T) {
	tests := []struct{ name, codec, wire, want, got, held string }{
		{"a length", "plugin: lenprefix", "\x00\x00\x00\x09abc", "the frame that its length announces, 6 bytes more at least", "00000009616263", "7"},
		{"a line", "profile: newline", "hi\nhalf", "the terminator LF", "68616c66", "4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, fmt.Sprintf(`
timeouts: {frame: 100ms}
codecs: [{name: from, %s}, {name: lines, profile: newline}]
routes: [{name: r, from: {listen: "tcp://127.0.0.1:0", codec: from}, to: {dial: "tcp://%s", codec: lines}}]`, tt.codec, u.Addr()))
			conn := p.dial("r")
			send(t, conn, tt.wire)
			ended := p.awaitMessage("session ended", "reason", "frame_timeout")
			if ended.text("want") != tt.want || ended.text("got") != tt.got || fmt.Sprint(ended["held"]) != tt.held ||
				ended.text("error") != "unfinished frame" {
				t.Errorf("got %v, want %q, got %q and %s bytes held", ended, tt.want, tt.got, tt.held)
			}
			shown := p.ask("violations", "r")
			for _, want := range []string{"unfinished frame, ended its session", tt.held + " bytes had come", tt.want} {
				if !strings.Contains(shown, want) {
					t.Errorf("got\n%s\nwant %q in it", shown, want)
				}
			}
			_ = conn.Close()
		})
	}
}

// framehost violations says so if there are no violations, or if there is no such route.
func TestViolationsOfNone(t *testing.T) {
	u := newUpstream(t)
	p := start(t, u.route("newline", "netstring", ""))
	if got := p.ask("violations"); got != "no violations\n" {
		t.Errorf("got %q", got)
	}
	if got := p.ask("violations", "relay", "--json"); got != "[]\n" {
		t.Errorf("got %q, want an empty list", got)
	}
	if got := framehost(t, "", "violations", "other", "--socket", p.socket); got.code != exitFailed || !strings.Contains(got.stderr, `there is no route "other"`) {
		t.Errorf("got %+v, want exit code %d and that there is no such route", got, exitFailed)
	}
}

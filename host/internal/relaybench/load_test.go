//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTwinUndoesWhatIsSent(t *testing.T) {
	payloads := []string{"", "plain", "\n", `\`, "\n\\", `a\nb`, "a\n\n\\c\\", string(newPayload(&load{Size: 256, Escapes: 5}, 7))}
	for _, payload := range payloads {
		line := appendLine(nil, []byte(payload), true)
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("%q: got %q, want one LF, at its end", payload, line)
		}
		if got, err := unescape(line[:len(line)-1]); string(got) != payload || err != nil {
			t.Errorf("%q: got %q (%v) of %q", payload, got, err, line)
		}
	}
	for _, line := range []string{`\`, `a\`, `\x`} {
		if got, err := unescape([]byte(line)); err == nil {
			t.Errorf("%q: got %q, want an error", line, got)
		}
	}
}

func TestPayloads(t *testing.T) {
	l := load{Size: 256, Escapes: 5}
	b := newBlock(&l)
	for i, payload := range b.payloads {
		if got := bytes.Count(payload, []byte("\n")); got != 12 {
			t.Fatalf("payload %d: got %d escapes, want 12", i, got)
		}
		if want := fmt.Sprintf("%08d", i); !bytes.HasSuffix(payload, []byte(want)) {
			t.Fatalf("payload %d: got %q, want %s at its end", i, payload, want)
		}
	}
}

// A faulty returns the wire bytes with which a faulty relay answers a payload, and whether the relay then ends the stream. nil wire means
// no fault.
type faulty func(number int, payload []byte) (wire []byte, end bool)

func frameOf(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func TestLoadNotices(t *testing.T) {
	const nth = 3
	tests := []struct {
		name  string
		fault faulty
		want  string
	}{
		{"nothing wrong", func(int, []byte) ([]byte, bool) { return nil, false }, ""},
		{"a byte changed", func(_ int, p []byte) ([]byte, bool) { p[9]++; return frameOf(p), false }, "corrupt frame"},
		{"a length changed", func(_ int, p []byte) ([]byte, bool) { return frameOf(p[1:]), false }, "corrupt frame"},
		{"a frame twice", func(_ int, p []byte) ([]byte, bool) { return append(frameOf(p), frameOf(p)...), false }, "corrupt frame"},
		{"a frame lost", func(int, []byte) ([]byte, bool) { return []byte{}, false }, "corrupt frame"},
		{"the end in between", func(_ int, p []byte) ([]byte, bool) { return frameOf(p), true }, ""},
		{"the end inside", func(_ int, p []byte) ([]byte, bool) { return frameOf(p)[:100], true }, ""}, // sink or sender may be the first to notice
	}
	for _, kind := range []kind{flood, ping} {
		for _, test := range tests {
			if kind == ping && test.name == "a frame lost" {
				continue // it would wait for it as long as it has patience
			}
			t.Run(fmt.Sprintf("%s, %s", kind, test.name), func(t *testing.T) {
				address, sink := startFaulty(t, nth, test.fault)
				l := load{Kind: kind, Conns: 2, Size: 256, Warmup: 0, Length: 50 * time.Millisecond}
				traffic := newTraffic(l, target{address, os.Getpid()}, sink)
				measure := runFlood
				if kind == ping {
					measure = runPing
				}
				r, err := measure(traffic)
				switch {
				case test.name == "nothing wrong":
					if err != nil || r.Frames == 0 || r.Seconds < l.Length.Seconds() {
						t.Errorf("got %+v and %v", r, err)
					}
				case err == nil || !strings.Contains(err.Error(), test.want):
					t.Errorf("got %+v and %v, want an error: %s", r, err, test.want)
				}
			})
		}
	}
}

// startFaulty starts a relay that calls fault for the nth frame of each connection.
func startFaulty(t *testing.T, nth int, fault faulty) (address string, sink net.Listener) {
	t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	down, sink := listen(), listen()
	go func() {
		for {
			conn, err := down.Accept()
			if err != nil {
				return
			}
			go relayFaulty(conn, sink.Addr().String(), nth, fault)
		}
	}()
	return down.Addr().String(), sink
}

func relayFaulty(down net.Conn, upstream string, nth int, fault faulty) {
	defer down.Close()
	up, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer up.Close()
	lines := bufio.NewReader(down)
	for number := 0; ; number++ {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		payload := line[:len(line)-1]
		wire, end := []byte(nil), false
		if number == nth {
			wire, end = fault(number, bytes.Clone(payload))
		}
		if wire == nil {
			wire = frameOf(payload)
		}
		if _, err := up.Write(wire); err != nil || end {
			return
		}
	}
}

func TestStatOfThisProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := before[os.Getpid()]; !ok {
		t.Errorf("got %v, want process %d in it", before, os.Getpid())
	}
	if _, err := cpuBetween(map[int]float64{1: 1, 2: 1}, map[int]float64{1: 2}); err == nil {
		t.Error("a process that ended: got no error")
	}
	if got, err := cpuBetween(map[int]float64{1: 1}, map[int]float64{1: 2, 2: 5}); got != 6 || err != nil {
		t.Errorf("got %v (%v), want 6", got, err)
	}
	memory, err := pssOf(os.Getpid())
	if memory < mib || err != nil {
		t.Errorf("got %d bytes of memory (%v)", memory, err)
	}
	if _, err := pssOf(-1); err == nil {
		t.Error("no such process: got no error")
	}
}

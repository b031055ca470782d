package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A frame without an end, and a frame that announces 4 GiB, use no more memory than max_frame allows, and end only their own session.
func TestFramesWithoutEnd(t *testing.T) { onPlanes(t, framesWithoutEnd) }

func framesWithoutEnd(t *testing.T, plane string) {
	tests := []struct{ name, profile, begin, frame, relayed string }{
		{"endless", "newline", "", "fine\n", "4:fine,"},
		{"4 GiB announced", "erlang-4", "\xff\xff\xff\xff", "\x00\x00\x00\x04fine", "4:fine,"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t)
			p := start(t, u.route(tt.profile, "netstring", ""), "--set", plane)
			bystander := p.dial("relay")
			receiver := u.accept()
			send(t, bystander, tt.frame)
			expect(t, receiver, tt.relayed)
			before := mostMemory(t, p.pids())

			conn := p.dial("relay")
			u.accept()
			send(t, conn, tt.begin)
			sent, err := pour(conn)
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("got %v after %d bytes, want a reset", err, sent)
			}
			p.awaitMessage("session ended", "reason", "violation")
			// max_frame is 1MiB. With the race detector and a growing heap, the process uses several times as much.
			const most = 64 << 20
			if grown := mostMemory(t, p.pids()) - before; grown > most {
				t.Errorf("%d bytes were sent, and took %d bytes of memory, want at most %d", sent, grown, most)
			}
			send(t, bystander, tt.frame)
			expect(t, receiver, tt.relayed)
		})
	}
}

// pour writes up to one GiB of one letter, and returns how many bytes were accepted.
func pour(conn net.Conn) (int64, error) {
	return io.Copy(conn, io.LimitReader(letters{}, 1<<30))
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// mostMemory returns the sum of the peak memory of the processes, in bytes.
func mostMemory(t *testing.T, pids []int) (sum int64) {
	t.Helper()
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, field, _ := strings.Cut(string(status), "VmHWM:")
		var kib int64
		if _, err := fmt.Sscanf(field, "%d kB", &kib); err != nil {
			t.Fatalf("process %d has no VmHWM: %v", pid, err)
		}
		sum += kib << 10
	}
	return sum
}

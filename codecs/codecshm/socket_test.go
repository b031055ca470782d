//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// packet returns a message in the form in which it is sent.
func packet(op uint32, text string) []byte {
	b := make([]byte, messageSize, messageSize+len(text))
	binary.NativeEndian.PutUint32(b[0:], magic)
	binary.NativeEndian.PutUint32(b[4:], version)
	binary.NativeEndian.PutUint32(b[8:], op)
	return append(b, text...)
}

// If a process sends anything instead of mapping memory, with files or without, Begin fails and nothing is left open.
func TestBeginRefusesRubbish(t *testing.T) {
	wrong := packet(opReady, "")
	wrong[4]++
	short := packet(opReady, "")[:messageSize-1]
	for _, test := range []struct {
		name, want string
		sends      []byte
	}{
		{"nothing at all", "waiting for the process", []byte{}},
		{"a byte", "too short", []byte{1}},
		{"less than a message", "too short", short},
		{"another version", errVersion.Error(), wrong},
		{"noise", errVersion.Error(), []byte(strings.Repeat("noise", 100))},
		{"another message", "message 3 instead", packet(opAdd, "")},
		{"a refusal", `the process: out of\x1b[31m ink`, packet(opReady, "out of\x1b[31m ink")},
		{"a refusal without end", strings.Repeat("x", maxRefusal), packet(opReady, strings.Repeat("x", 5000))},
	} {
		for _, files := range []int{0, 1, maxFiles, 50} {
			before := descriptors(t)
			plane, theirs := connect(t)
			passed := make([]int, files)
			for i := range passed {
				passed[i] = int(os.Stdin.Fd())
			}
			var rights []byte
			if files > 0 {
				rights = unix.UnixRights(passed...)
			}
			if _, _, err := theirs.conn.WriteMsgUnix(test.sends, rights, nil); err != nil {
				t.Fatal(err)
			}
			err := plane.Begin(t.Context(), 0, func(error) { t.Error("a plane that never began has failed") })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %d files: got %v, want %s", test.name, files, err, test.want)
			}
			plane.Close()
			theirs.close()
			if after := descriptors(t); after != before {
				t.Errorf("%s, %d files: %d descriptors are open, %d were", test.name, files, after, before)
			}
		}
	}
}

// For a process that maps nothing and sends nothing, Begin waits as long as the caller allows.
func TestBeginUnanswered(t *testing.T) {
	plane, theirs := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan error)
	go func() { begun <- plane.Begin(ctx, 0, nil) }()
	m, err := theirs.receive(maxFiles)
	if err != nil || m.op != opBegin || len(m.files) != maxFiles {
		t.Fatalf("got message %d with %d files, %v", m.op, len(m.files), err)
	}
	closeAll(m.files)
	cancel()
	if err := <-begun; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	plane.Close()
	plane.Close()
}

// A process that maps memory after Begin has given up ends what it began.
func TestBeginAnsweredTooLate(t *testing.T) {
	before := mapped(t)
	plane, theirs := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := plane.Begin(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	plane.Close()
	s := &server{socket: theirs, lookup: func(uint32) *Configured { return nil }}
	if err := s.serve(); err == nil {
		t.Error("got no error")
	}
	if after := mapped(t); after != before {
		t.Errorf("%d mappings, %d before", after, before)
	}
}

// The process refuses a host with another version, reports the wanted version, and does not serve it.
func TestServeRefusesAnotherVersion(t *testing.T) {
	plane, theirs := connect(t)
	served := make(chan error)
	go func() { served <- (&server{socket: theirs}).serve() }()
	b := packet(opBegin, "")
	b[4]++
	if _, _, err := plane.socket.conn.WriteMsgUnix(b, nil, nil); err != nil {
		t.Fatal(err)
	}
	m, err := plane.socket.receive(0)
	if err != nil || m.op != opReady || !strings.Contains(m.refusal, errVersion.Error()) {
		t.Errorf("got %+v, %v", m, err)
	}
	if err := <-served; !errors.Is(err, errVersion) {
		t.Errorf("serve returned %v", err)
	}
}

func TestServeWithoutHost(t *testing.T) {
	t.Setenv(Variable, "")
	if err := Serve(nil); err != nil {
		t.Errorf("no host offers the plane: got %v", err)
	}
	for _, number := range []string{"x", "-1", "2", "99999"} {
		t.Setenv(Variable, number)
		if err := Serve(nil); err == nil || !strings.Contains(err.Error(), Variable) {
			t.Errorf("descriptor %s: got %v", number, err)
		}
	}
}

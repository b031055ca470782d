package endpoint

import (
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Lost reports a reset while bytes that arrived before it are still unread, and reports it on every call.
func TestLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	conn, err := newConn(accepted.(*net.TCPConn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := conn.Lost(); err != nil {
		t.Errorf("while the connection is whole: got %v", err)
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { // wait until the reset has arrived
		fds := []unix.PollFd{{Fd: int32(fd)}}
		for n, err := unix.Poll(fds, 30_000); n == 0 && errors.Is(err, unix.EINTR); n, err = unix.Poll(fds, 30_000) {
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := conn.Lost(); !errors.Is(err, ErrReset) {
			t.Errorf("after the reset: got %v, want %v", err, ErrReset)
		}
	}
	got := make([]byte, 10)
	n, err := conn.Read(func() []byte { return got }, func([]byte) {})
	if string(got[:n]) != "hi" && !errors.Is(err, ErrReset) || errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v; want what came before, or the reset", got[:n], err)
	}
}

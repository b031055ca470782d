package route

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/relay"
)

// Bytes written before a reset arrive before it, although the peer has not read any yet.
func TestLinkResetDeliversFirst(t *testing.T) {
	conn, peer := connected(t)
	l := newLink(conn)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
	for rest := sent; len(rest) > 0; {
		n, err := l.Write(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := errors.Join(l.Reset(), l.Reset(), l.Close()); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(peer)
	if !bytes.Equal(got, sent) || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes, then %v, want the %d that were sent and a reset", len(got), err, len(sent))
	}
	l.wait()
	if _, err := l.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the reset: got %v, want %v", err, net.ErrClosed)
	}
}

// Reset does not wait for a peer that accepts nothing, and wakes a blocked Write.
func TestLinkResetWhileWriting(t *testing.T) {
	conn, peer := connected(t)
	if err := peer.SetReadBuffer(1 << 10); err != nil {
		t.Fatal(err)
	}
	l := newLink(conn)
	blocked := make(chan error)
	go func() {
		for {
			if _, err := l.Write(make([]byte, 1<<20)); err != nil {
				blocked <- err
				return
			}
		}
	}()
	read := make(chan error)
	go func() {
		_, err := l.Read(func() []byte { return make([]byte, 1) }, func([]byte) {})
		read <- err
	}()
	for !l.writing.Load() {
		runtime.Gosched()
	}
	if err := l.Reset(); err != nil {
		t.Error(err)
	}
	if err := <-blocked; err == nil {
		t.Error("a write after the reset succeeds")
	}
	if err := <-read; err == nil {
		t.Error("a read after the reset succeeds")
	}
	l.wait()
}

func TestLinkCloseIsAnEnd(t *testing.T) {
	conn, peer := connected(t)
	l := newLink(conn)
	if _, err := l.Write([]byte("all")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	l.wait()
	if got, err := io.ReadAll(peer); string(got) != "all" || err != nil {
		t.Errorf("got %q and %v, want all of it and an end", got, err)
	}
}

func TestReasonOf(t *testing.T) {
	conn, peer := connected(t)
	if err := errors.Join(peer.SetLinger(0), peer.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(func() []byte { return make([]byte, 1) }, func([]byte) {})
	if got := reasonOf(err); got != relay.Reset {
		t.Errorf("got %s for %v, want %s", got, err, relay.Reset)
	}
	if got := reasonOf(io.ErrShortWrite); got != relay.IOError {
		t.Errorf("got %s, want %s", got, relay.IOError)
	}
}

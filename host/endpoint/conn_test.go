package endpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

var networks = []string{"tcp", "unix"}

// testAddress returns an address of network on which a test can listen.
func testAddress(t testing.TB, network string) Address {
	t.Helper()
	if network == "tcp" {
		return Address{"tcp", "127.0.0.1:0"}
	}
	return Address{"unix", filepath.Join(shortDir(t), "s")}
}

// shortDir returns a directory with a short name: with that of t.TempDir, a socket's path may be too long.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listening(t testing.TB, addr Address, options ListenOptions) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), addr, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// pair returns both ends of a connection: a Conn, and the peer's end as a type of package net.
func pair(t testing.TB, network string) (*Conn, socket) {
	t.Helper()
	l := listening(t, testAddress(t, network), ListenOptions{})
	peer, err := net.Dial(l.Addr().Network, l.Addr().Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, peer.(socket)
}

// A bufferLender provides the grab and release functions for Read, and checks that Read calls them alternately.
type bufferLender struct {
	t        testing.TB
	buf      []byte
	held     bool
	grabs    int
	released chan struct{} // receives a value after each release
}

func newBufferLender(t testing.TB, size int) *bufferLender {
	return &bufferLender{t: t, buf: make([]byte, size), released: make(chan struct{}, 100)}
}

func (h *bufferLender) grab() []byte {
	if h.held {
		h.t.Error("got a second buffer grabbed, want the first one released before")
	}
	h.held = true
	h.grabs++
	return h.buf
}

func (h *bufferLender) release(b []byte) {
	if !h.held || &b[0] != &h.buf[0] {
		h.t.Error("got a buffer released that was not grabbed")
	}
	h.held = false
	h.released <- struct{}{}
}

// read calls c.Read once and returns the bytes read.
func (h *bufferLender) read(c *Conn) ([]byte, error) {
	n, err := c.Read(h.grab, h.release)
	if h.held != (n > 0) {
		h.t.Errorf("got %d bytes (%v) and a buffer held: %v, want it held only with bytes", n, err, h.held)
	}
	h.held = false
	return h.buf[:n], err
}

// readAll reads c to its end.
func (h *bufferLender) readAll(c *Conn) ([]byte, error) {
	var all []byte
	for {
		b, err := h.read(c)
		all = append(all, b...)
		if err != nil {
			return all, err
		}
	}
}

func writeAll(c *Conn, p []byte) error {
	for len(p) > 0 {
		n, err := c.Write(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func each(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

func TestBytesPassBothWays(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		l := listening(t, testAddress(t, network), ListenOptions{})
		dialled, err := Dial(t.Context(), l.Addr(), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		for _, way := range []struct{ from, to *Conn }{{dialled, accepted}, {accepted, dialled}} {
			want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: more than the system buffers
			written := make(chan error)
			go func() { written <- errors.Join(writeAll(way.from, want), way.from.CloseWrite()) }()
			got, err := newBufferLender(t, 1000).readAll(way.to)
			if err != io.EOF || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, equal: %v, then %v, want %d and EOF", len(got), bytes.Equal(got, want), err, len(want))
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestPeerEndsItsDirectionAndHearsTheAnswer(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if _, err := peer.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := newBufferLender(t, 100).readAll(c); string(got) != "question" || err != io.EOF {
			t.Fatalf("got %q, %v, want the question and EOF", got, err)
		}
		if err := writeAll(c, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "answer" || err != nil {
			t.Fatalf("got %q, %v, want the answer and a clean end", got, err)
		}
	})
}

func TestWeEndOurDirectionAndHearTheAnswer(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if err := errors.Join(writeAll(c, []byte("question")), c.CloseWrite(), c.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "question" || err != nil {
			t.Fatalf("got %q, %v, want the question and a clean end", got, err)
		}
		if _, err := c.Write([]byte("more")); err != net.ErrClosed {
			t.Errorf("got %v from a Write after CloseWrite, want %v", err, net.ErrClosed)
		}
		if _, err := peer.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close()
		if got, err := newBufferLender(t, 100).readAll(c); string(got) != "answer" || err != io.EOF {
			t.Fatalf("got %q, %v, want the answer and EOF", got, err)
		}
	})
}

func TestPeekLeavesTheBytesInTheStream(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		h := newBufferLender(t, 4)
		atLeast := func(n int) func([]byte) bool { return func(seen []byte) bool { return len(seen) >= n } }
		peek := func(most int, enough func([]byte) bool, want string, wantErr error) {
			t.Helper()
			if seen, err := c.Peek(t.Context(), most, enough); string(seen) != want || !errors.Is(err, wantErr) {
				t.Errorf("got %q, %v from Peek, want %q, %v", seen, err, want, wantErr)
			}
		}
		if _, err := peer.Write([]byte("hello ")); err != nil {
			t.Fatal(err)
		}
		peek(3, atLeast(100), "hel", nil) // most bytes were seen
		peek(3, atLeast(1), "hel", nil)   // no more bytes are needed
		peek(5, atLeast(5), "hello", nil) // more bytes than were seen before
		c.Unread([]byte(">> "))
		if got, err := h.read(c); string(got) != ">> h" || err != nil {
			t.Errorf("got %q, %v, want what was put back first", got, err)
		}
		if _, err := peer.Write([]byte("world")); err != nil {
			t.Fatal(err)
		}
		_ = peer.CloseWrite()
		peek(100, atLeast(100), "ello world", io.EOF)
		if got, err := h.readAll(c); string(got) != "ello world" || err != io.EOF {
			t.Errorf("got %q, %v, want all that was peeked at", got, err)
		}
	})
}

func TestPeekIsCutShort(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if _, err := peer.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		late := errors.New("too late")
		ctx, cancel := context.WithCancelCause(t.Context())
		seen, err := c.Peek(ctx, 10, func([]byte) bool { cancel(late); return false })
		if string(seen) != "hi" || err != late {
			t.Errorf("got %q, %v, want what was seen so far and the context's cause", seen, err)
		}
		if _, err := peer.Write([]byte(" ho")); err != nil {
			t.Fatal(err)
		}
		_ = peer.CloseWrite()
		if got, err := newBufferLender(t, 10).readAll(c); string(got) != "hi ho" || err != io.EOF {
			t.Errorf("got %q, %v, want a stream that goes on", got, err)
		}
	})
}

// Readable counts bytes that have arrived but were not read. The peer's end does not count.
func TestReadable(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		await := func(want int) {
			t.Helper()
			for limit := time.Now().Add(10 * time.Second); ; {
				n, err := c.Readable()
				if err != nil {
					t.Fatal(err)
				}
				if n == want {
					return
				}
				if time.Now().After(limit) {
					t.Fatalf("got %d bytes, want %d", n, want)
				}
			}
		}
		await(0)
		if _, err := peer.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		await(5)
		h := newBufferLender(t, 3)
		if n, err := c.Read(h.grab, h.release); n != 3 || err != nil {
			t.Fatalf("got %d, %v; want 3 bytes", n, err)
		}
		await(2)
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		await(2)
		_ = c.Close()
		if n, err := c.Readable(); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: got %d, %v; want net.ErrClosed", n, err)
		}
	})
}

func TestReadWithoutMemory(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if _, err := peer.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		release := func([]byte) { t.Error("got a release, want none") }
		for _, unread := range []string{"", "oh "} {
			c.Unread([]byte(unread))
			if n, err := c.Read(func() []byte { return nil }, release); n != 0 || err != nil {
				t.Errorf("got %d, %v, want 0 and no error", n, err)
			}
		}
		if seen, err := c.Peek(t.Context(), 5, func(b []byte) bool { return len(b) == 5 }); string(seen) != "oh hi" || err != nil {
			t.Errorf("got %q, %v, want nothing lost", seen, err)
		}
	})
}

func TestWriteIsPartialAgainstAPeerThatDoesNotRead(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		p := make([]byte, 64<<20)
		n, err := c.Write(p)
		if err != nil || n <= 0 || n >= len(p) {
			t.Errorf("got %d, %v, want some of %d bytes accepted", n, err, len(p))
		}
		_ = c.CloseWrite()
		if got, err := io.Copy(io.Discard, peer); got != int64(n) || err != nil {
			t.Errorf("got %d bytes at the peer, %v, want the %d that were accepted", got, err, n)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("got %d, %v for an empty Write, want 0 and no error", n, err)
		}
	})
}

func TestStalled(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if c.Stalled() {
			t.Error("a connection that nothing was written to is stalled")
		}
		written := make(chan error)
		go func() { written <- writeAll(c, make([]byte, 64<<20)) }()
		for !c.Stalled() {
			runtime.Gosched()
		}
		go io.Copy(io.Discard, peer)
		if err := <-written; err != nil || c.Stalled() {
			t.Errorf("got %v, stalled: %v, want everything written", err, c.Stalled())
		}
	})
}

func TestEndingTwice(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		if err := errors.Join(c.Close(), c.Close(), c.Reset()); err != nil {
			t.Errorf("got %v, want nothing to happen", err)
		}
		if got, err := io.ReadAll(peer); len(got) != 0 || err != nil {
			t.Errorf("got %q, %v, want the clean end of the first Close", got, err)
		}
		if _, err := newBufferLender(t, 10).read(c); err != net.ErrClosed {
			t.Errorf("got %v from Read, want %v", err, net.ErrClosed)
		}
		if _, err := c.Write([]byte("x")); err != net.ErrClosed {
			t.Errorf("got %v from Write, want %v", err, net.ErrClosed)
		}
		if err := c.CloseRead(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v from CloseRead, want %v", err, net.ErrClosed)
		}
		if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v from CloseWrite, want %v", err, net.ErrClosed)
		}
	})
}

func TestRemoteIP(t *testing.T) {
	tests := []struct {
		name string
		addr net.Addr
		want string
	}{
		{"IPv4", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1).To4(), Port: 1}, "10.0.0.1"},
		{"IPv4 on an IPv6 socket", &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 1}, "10.0.0.1"},
		{"link-local with a zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 1}, "fe80::1"},
		{"Unix socket", &net.UnixAddr{Net: "unix"}, "invalid IP"},
	}
	for _, test := range tests {
		if got := ipOf(test.addr); got.String() != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	c, _ := pair(t, "tcp")
	if got := c.RemoteIP(); got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got %v, want the peer's address", got)
	}
}

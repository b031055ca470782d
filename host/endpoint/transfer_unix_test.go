//go:build unix

package endpoint

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fill writes until the system accepts no more bytes.
func fill(t testing.TB, c *Conn) (n int) {
	t.Helper()
	p := make([]byte, 64<<10)
	err := c.transfer.raw.Control(func(fd uintptr) {
		for {
			m, err := syscall.Write(int(fd), p)
			if err != nil {
				return
			}
			n += m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAReadThatWaitsHoldsNoBuffer(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		h := newBufferLender(t, 10)
		type result struct {
			got string
			err error
		}
		done := make(chan result)
		go func() {
			got, err := h.read(c)
			done <- result{string(got), err}
		}()
		<-h.released // after the release, Read waits
		select {
		case r := <-done:
			t.Fatalf("got %v before anything was sent", r)
		default:
		}
		if _, err := peer.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.got != "hi" || r.err != nil {
			t.Errorf("got %v, want hi", r)
		}
		if h.grabs < 2 {
			t.Errorf("got %d grabs, want one before waiting and one after", h.grabs)
		}
	})
}

func TestEndingWakesARead(t *testing.T) {
	ends := []struct {
		name string
		end  func(*Conn) error
		want error
	}{
		{"Close", (*Conn).Close, net.ErrClosed},
		{"Reset", (*Conn).Reset, net.ErrClosed},
		{"CloseRead", (*Conn).CloseRead, io.EOF},
	}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				c, _ := pair(t, network)
				h := newBufferLender(t, 10)
				done := make(chan error)
				go func() {
					_, err := h.read(c)
					done <- err
				}()
				<-h.released
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if err := <-done; err != end.want {
					t.Errorf("got %v, want %v", err, end.want)
				}
			})
		})
	}
}

func TestEndingWakesAWrite(t *testing.T) {
	ends := []struct {
		name string
		end  func(*Conn) error
	}{{"Close", (*Conn).Close}, {"Reset", (*Conn).Reset}}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				c, _ := pair(t, network)
				fill(t, c)
				done := make(chan error)
				go func() {
					for {
						if _, err := c.Write(make([]byte, 1<<20)); err != nil {
							done <- err
							return
						}
					}
				}()
				if err := end.end(c); err != nil {
					t.Error(err)
				}
				if err := <-done; err != net.ErrClosed {
					t.Errorf("got %v, want %v", err, net.ErrClosed)
				}
			})
		})
	}
}

func TestPeerSeesAReset(t *testing.T) {
	c, peer := pair(t, "tcp")
	if err := errors.Join(writeAll(c, []byte("half a fra")), c.Flush(t.Context()), c.Reset()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(peer)
	if string(got) != "half a fra" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v, want what was sent and %v", got, err, syscall.ECONNRESET)
	}
}

func TestWhatAUnixPeerSeesOfAReset(t *testing.T) {
	tests := []struct {
		name   string
		unread string
		want   error
	}{
		{"an end, if nothing of it was left unread", "", nil},
		{"a reset, if something was", "x", syscall.ECONNRESET},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, peer := pair(t, "unix")
			if _, err := peer.Write([]byte(test.unread)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writeAll(c, []byte("half a fra")), c.Reset()); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(peer); string(got) != "half a fra" || !errors.Is(err, test.want) {
				t.Errorf("got %q, %v, want what was sent and %v", got, err, test.want)
			}
			if _, err := peer.Write([]byte("y")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("got %v from the peer's Write, want %v", err, syscall.EPIPE)
			}
		})
	}
}

func TestPeerResets(t *testing.T) {
	c, peer := pair(t, "tcp")
	reset(peer)
	h := newBufferLender(t, 10)
	for range 2 { // the kernel reports the reset once only
		if _, err := h.read(c); !errors.Is(err, ErrReset) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v from Read, want %v by ECONNRESET", err, ErrReset)
		}
	}
	for range 2 {
		if _, err := c.Write([]byte("x")); !errors.Is(err, ErrReset) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v from Write, want the cause of its broken pipe", err)
		}
	}
	if err := c.CloseWrite(); !errors.Is(err, ErrReset) {
		t.Errorf("got %v from CloseWrite, want %v", err, ErrReset)
	}
}

// The kernel reports a reset to one of Read and Write; the other must not take the reset for the end of the stream.
func TestAResetIsNeverAnEnd(t *testing.T) {
	l := listening(t, testAddress(t, "tcp"), ListenOptions{})
	for range 300 {
		peer, err := net.Dial("tcp", l.Addr().Address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					if !errors.Is(err, ErrReset) {
						t.Errorf("got %v from Write, want %v", err, ErrReset)
					}
					return
				}
			}
		})
		both.Go(func() {
			if _, err := newBufferLender(t, 10).read(c); !errors.Is(err, ErrReset) {
				t.Errorf("got %v from Read, want %v", err, ErrReset)
			}
		})
		both.Go(func() { reset(peer.(socket)) })
		both.Wait()
		_ = c.Close()
	}
}

// Linux reports a reset to the first call after it; here that is certainly Write.
func TestReadAfterWriteGotAReset(t *testing.T) {
	c, peer := pair(t, "tcp")
	if _, err := peer.Write([]byte("half a fra")); err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	reset(peer)
	for {
		if _, err := c.Write(make([]byte, 1<<20)); err != nil {
			if !errors.Is(err, ErrReset) {
				t.Errorf("got %v from Write, want %v", err, ErrReset)
			}
			break
		}
	}
	got, err := newBufferLender(t, 100).readAll(c)
	sent := "half a fra"
	if !errors.Is(err, ErrReset) || !strings.HasPrefix(sent, string(got)) {
		t.Errorf("got %q, %v, want %v", got, err, ErrReset)
	}
}

func TestThePeersCompleteEndStaysOneWhenItResetsLater(t *testing.T) {
	c, peer := pair(t, "tcp")
	if _, err := peer.Write([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	_ = peer.Close() // a complete end; the peer answers later writes with a reset
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			if !errors.Is(err, ErrReset) {
				t.Errorf("got %v from Write, want %v", err, ErrReset)
			}
			break
		}
	}
	if got, err := newBufferLender(t, 100).readAll(c); string(got) != "all of it" || err != io.EOF {
		t.Errorf("got %q, %v, want all of it and EOF", got, err)
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		err  error
		want error
	}{
		{syscall.ECONNRESET, ErrReset},
		{syscall.EPIPE, ErrReset},
		{&net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, ErrPeerLost},
		{syscall.EHOSTUNREACH, ErrPeerLost},
		{syscall.ENETDOWN, ErrPeerLost},
		{syscall.ENOBUFS, nil},
		{io.EOF, nil},
		{net.ErrClosed, nil},
		{nil, nil},
	}
	for _, test := range tests {
		got := Classify(test.err)
		if !errors.Is(got, test.err) || Classify(got) != got {
			t.Errorf("%v: got %v, want it wrapped, once", test.err, got)
		}
		for _, kind := range []error{ErrReset, ErrPeerLost} {
			if errors.Is(got, kind) != (kind == test.want) {
				t.Errorf("%v: got %v, want %v", test.err, got, test.want)
			}
		}
	}
	if got, want := Classify(syscall.EPIPE).Error(), "connection reset (broken pipe)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadAndWriteAllocateNothing(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		c, peer := pair(t, network)
		buf, in := make([]byte, 64), make([]byte, 64)
		grab, release := func() []byte { return buf }, func([]byte) {}
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := c.Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(peer, in); err != nil {
				t.Fatal(err)
			}
			if _, err := peer.Write(in); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(grab, release); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("got %v allocations, want 0", allocs)
		}
	})
}

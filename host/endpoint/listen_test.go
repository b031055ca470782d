package endpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenTakesIPv4AndIPv6(t *testing.T) {
	l := listening(t, Address{"tcp", ":0"}, ListenOptions{})
	_, port, err := net.SplitHostPort(l.Addr().Address)
	if err != nil || port == "0" {
		t.Fatalf("got address %s, want the port that was chosen", l.Addr())
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		peer, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			if host == "::1" {
				t.Skipf("no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteIP().String(); got != host {
			t.Errorf("got a peer at %s, want %s", got, host)
		}
		_ = peer.Close()
		_ = c.Close()
	}
}

func TestListenErrors(t *testing.T) {
	busy := listening(t, testAddress(t, "tcp"), ListenOptions{}).Addr()
	tests := []struct {
		name string
		addr Address
		mode fs.FileMode
		want string
	}{
		{"other network", Address{"udp", ":1"}, 0, `listen udp://:1: got network "udp", want tcp or unix`},
		{"no address", Address{"tcp", ""}, 0, "listen tcp://: got an empty address, want HOST:PORT"},
		{"no path", Address{"unix", ""}, 0, "listen unix://: got an empty address, want a path"},
		{"mode for tcp", Address{"tcp", "127.0.0.1:0"}, 0o660,
			"listen tcp://127.0.0.1:0: got mode 0660, want none: only the file of a Unix socket has one"},
		{"port in use", busy, 0, "listen " + busy.String() + ": bind: "},
	}
	for _, test := range tests {
		_, err := Listen(t.Context(), test.addr, ListenOptions{Mode: test.mode})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func TestCloseEndsAccept(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		l := listening(t, testAddress(t, network), ListenOptions{})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, err := l.Accept(); err != net.ErrClosed {
					t.Errorf("got %v, want %v", err, net.ErrClosed)
				}
			})
		}
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		both.Wait()
	})
}

func TestRefusedConnectionsAreResetAndReported(t *testing.T) {
	limit := NewConnections(2, 0)
	reasons := make(chan string, 10)
	l := listening(t, testAddress(t, "tcp"), ListenOptions{
		Admission: Admission{Limit: []*Connections{limit}},
		Refused:   func(_ net.Addr, reason string) { reasons <- reason },
	})
	accepted := make(chan *Conn, 10)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	})
	defer accepting.Wait()
	defer l.Close()
	dial := func() {
		t.Helper()
		peer, err := net.Dial("tcp", l.Addr().Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = peer.Close() })
	}
	refused := func(want string) {
		t.Helper()
		peer, err := net.Dial("tcp", l.Addr().Address)
		if err == nil { // otherwise the reset arrived before Dial returned
			defer peer.Close()
			_, err = peer.Read(make([]byte, 1))
		}
		if !errors.Is(Classify(err), ErrReset) {
			t.Errorf("got %v at the peer, want a reset", err)
		}
		if got := <-reasons; got != want {
			t.Errorf("got reason %q, want %q", got, want)
		}
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	refused("over max_connections (2)")
	_ = first.Close()
	_ = first.Reset() // uncounts the connection only once
	dial()
	third := <-accepted
	refused("over max_connections (2)")
	_ = second.Reset()
	_ = third.Close()
	if got := limit.Live(); got != 0 {
		t.Errorf("got %d connections counted, want 0: those that ended count no more", got)
	}
}

// A failingSocket is a listenSocket whose Accept calls accept.
type failingSocket struct {
	listenSocket
	accept func() (net.Conn, error)
}

func (s failingSocket) Accept() (net.Conn, error) { return s.accept() }
func (failingSocket) Close() error                { return nil }

func (failingSocket) SyscallConn() (syscall.RawConn, error) { return nil, net.ErrClosed }

// During Transfer, the socket goes on accepting connections and refuses none.
func TestTransfer(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		limit := NewConnections(1, 0)
		l := listening(t, testAddress(t, network), ListenOptions{Admission: Admission{Limit: []*Connections{limit}}})
		accepted := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		to, err := l.Transfer(ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the waiting Accept got %v, want net.ErrClosed", err)
		}
		for range 2 { // more than the old limit, and after the old listener was closed
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			peer, err := net.Dial(network, l.Addr().Address)
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			c, err := to.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if _, err := l.Transfer(ListenOptions{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second transfer: got %v, want net.ErrClosed", err)
		}
		if err := to.Close(); err != nil {
			t.Error(err)
		}
		if c, err := net.Dial(network, l.Addr().Address); err == nil {
			c.Close()
			t.Error("after the end of both, the socket still accepts")
		}
	})
}

// A closed listener refuses connections at once, even while another process holds a copy of its socket, as a child process
// does between fork and exec.
func TestCloseOfACopiedSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a system that can shut a listening socket down: Linux")
	}
	each(t, func(t *testing.T, network string) {
		l := listening(t, testAddress(t, network), ListenOptions{})
		file, err := l.socket.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		accepted := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want net.ErrClosed", err)
		}
		if c, err := net.Dial(network, l.Addr().Address); err == nil {
			c.Close()
			t.Error("the address still accepts connections")
		}
		again, err := Listen(t.Context(), l.Addr(), ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAcceptSurvivesAFailingSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		full := errors.New("too many open files")
		var waits []string
		l := &Listener{closed: make(chan struct{}), socket: failingSocket{accept: func() (net.Conn, error) {
			failures++
			return nil, &net.OpError{Op: "accept", Err: full}
		}}}
		l.options.AcceptFailed = func(err error, wait time.Duration) {
			waits = append(waits, fmt.Sprint(err, " ", wait))
			if len(waits) == 10 {
				_ = l.Close()
			}
		}
		if _, err := l.Accept(); err != net.ErrClosed {
			t.Errorf("got %v, want %v, and only after Close", err, net.ErrClosed)
		}
		want := "5ms 10ms 20ms 40ms 80ms 160ms 320ms 640ms 1s 1s"
		if got := strings.ReplaceAll(strings.Join(waits, " "), full.Error()+" ", ""); got != want || failures != 10 {
			t.Errorf("got %d failures and waits %s, want 10 and %s", failures, got, want)
		}
	})
}

package datagram

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/netif"
)

// patience is how long tests wait for events that should happen at once.
const patience = 20 * time.Second

func listenUDP(t testing.TB, address string, options Options) *Conn {
	t.Helper()
	c, err := Listen(t.Context(), address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dialUDP(t testing.TB, address string, options Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// at returns host with the port of c, as HOST:PORT.
func at(host string, c *Conn) string {
	return net.JoinHostPort(host, fmt.Sprint(c.Addr().Port()))
}

// read returns the next n datagrams of c.
func read(t testing.TB, c *Conn, n int) []Datagram {
	t.Helper()
	if err := c.socket.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got []Datagram
	for len(got) < n {
		batch := make([]Datagram, n-len(got))
		for i := range batch {
			batch[i].Payload = make([]byte, 0, 65536)
		}
		k, err := c.ReadBatch(batch)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), n, err)
		}
		got = append(got, batch[:k]...)
	}
	return got
}

// send sends payloads to the address that was dialed.
func send(t testing.TB, c *Conn, payloads ...string) {
	t.Helper()
	batch := make([]Datagram, len(payloads))
	for i, p := range payloads {
		batch[i].Payload = []byte(p)
	}
	if err := c.WriteBatch(batch); err != nil {
		t.Fatal(err)
	}
	for i := range batch {
		if batch[i].Err != nil {
			t.Fatalf("send %.20q: %v", batch[i].Payload, batch[i].Err)
		}
	}
}

func TestDatagramsThereAndBack(t *testing.T) {
	tests := []struct{ name, listen, dial string }{
		{"IPv4", "127.0.0.1", "127.0.0.1"},
		{"IPv6", "::1", "::1"},
		{"IPv4 to all IPv4 addresses", "0.0.0.0", "127.0.0.1"},
		{"IPv6 to all IPv6 addresses", "::", "::1"},
		{"IPv4 to all addresses", "", "127.0.0.1"},
		{"IPv6 to all addresses", "*", "::1"},
		{"a name", "localhost", "localhost"},
	}
	sizes := []int{0, 1, 1500, MaxDatagram}
	if runtime.GOOS == "darwin" {
		sizes = sizes[:3] // net.inet.udp.maxdgram
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listenUDP(t, net.JoinHostPort(tt.listen, "0"), Options{ReceiveBuffer: 1 << 20})
			d := dialUDP(t, at(tt.dial, l), Options{ReceiveBuffer: 1 << 20})
			for _, size := range sizes {
				want := strings.Repeat("x", size)
				send(t, d, want)
				got := read(t, l, 1)[0]
				if string(got.Payload) != want {
					t.Fatalf("got %d bytes, want %d", len(got.Payload), size)
				}
				if got.Remote.Port() != d.Addr().Port() || got.Remote.Addr().Is4In6() {
					t.Fatalf("got sender %s, want port %d", got.Remote, d.Addr().Port())
				}
				if !destinationUnknown && (got.Cast != Unicast || got.Local != got.Remote.Addr() || got.Interface == 0) {
					t.Fatalf("got %s to %s on %d, want unicast to %s", got.Cast, got.Local, got.Interface, got.Remote.Addr())
				}
				answer := []Datagram{{Payload: got.Payload, Remote: got.Remote, Local: got.Local}}
				if err := l.WriteBatch(answer); err != nil || answer[0].Err != nil {
					t.Fatal(err, answer[0].Err)
				}
				if got := read(t, d, 1)[0]; string(got.Payload) != want {
					t.Fatalf("got %d bytes back, want %d", len(got.Payload), size)
				}
			}
			if s := l.Stats(); s.Received != uint64(len(sizes)) || s.Sent != s.Received || s.Unsent != 0 || s.Dropped != 0 {
				t.Errorf("got %+v, want %d received and sent", s, len(sizes))
			}
		})
	}
}

func TestDatagramsComeInBatches(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{ReceiveBuffer: 4 << 20})
	d := dialUDP(t, at("127.0.0.1", l), Options{})
	var want []string
	for i := range 3*maxBatch/2 + 1 { // more than fit into one system call
		want = append(want, fmt.Sprintf("%04d", i))
	}
	for len(want) > 0 { // in portions that fit into the smallest receive buffer
		k := min(len(want), 100)
		send(t, d, want[:k]...)
		for i, got := range read(t, l, k) {
			if string(got.Payload) != want[i] {
				t.Fatalf("got %q, want %q", got.Payload, want[i])
			}
		}
		want = want[k:]
	}
}

func TestTruncatedDatagramIsDiscarded(t *testing.T) {
	var truncated []string
	l := listenUDP(t, "127.0.0.1:0", Options{Truncated: func(_ netip.AddrPort, size, room int) {
		if size == 0 {
			size = 11 // not every system reports the size
		}
		truncated = append(truncated, fmt.Sprintf("%d/%d", size, room))
	}})
	d := dialUDP(t, at("127.0.0.1", l), Options{})
	send(t, d, "hello world", "0123456789", "hello again", "ho")
	memory := [2][10]byte{}
	var got []string
	for len(got) < 2 {
		batch := []Datagram{{Payload: memory[0][:0]}, {Payload: memory[1][:0]}}
		if err := l.socket.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := l.ReadBatch(batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch[:n] {
			got = append(got, string(d.Payload))
		}
		if p, q := batch[0].Payload[:1], batch[1].Payload[:1]; &p[0] == &q[0] {
			t.Fatal("got the same memory back twice")
		}
	}
	if fmt.Sprint(got) != "[0123456789 ho]" || fmt.Sprint(truncated) != "[11/10 11/10]" || l.Stats().Truncated != 2 {
		t.Errorf("got %q, truncated %q, counted %d; want [0123456789 ho], [11/10 11/10], 2", got, truncated, l.Stats().Truncated)
	}
}

func TestOwnDatagramsAreKnown(t *testing.T) {
	origins := new(Origins)
	l := listenUDP(t, "127.0.0.1:0", Options{Origins: origins})
	own := dialUDP(t, at("127.0.0.1", l), Options{Origins: origins})
	other := dialUDP(t, at("127.0.0.1", l), Options{Origins: new(Origins)})
	send(t, own, "ours")
	send(t, other, "theirs")
	send(t, own, "ours, and then closed")
	_ = own.Close()
	for _, want := range []struct {
		payload string
		own     bool
	}{{"ours", true}, {"theirs", false}, {"ours, and then closed", true}} {
		got := read(t, l, 1)[0]
		if string(got.Payload) != want.payload || got.Own != want.own {
			t.Errorf("got %q, own %v; want %q, %v", got.Payload, got.Own, want.payload, want.own)
		}
	}
	if got := l.Stats().Own; got != 2 {
		t.Errorf("got %d own, want 2", got)
	}
}

func TestAnswersComeFromWhoWasDialed(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{})
	d := dialUDP(t, at("127.0.0.1", l), Options{})
	send(t, dialUDP(t, at("127.0.0.1", d), Options{}), "a stranger's")
	answer := []Datagram{{Payload: []byte("the answer"), Remote: netip.MustParseAddrPort(at("127.0.0.1", d))}}
	if err := l.WriteBatch(answer); err != nil || answer[0].Err != nil {
		t.Fatal(err, answer[0].Err)
	}
	if got := read(t, d, 1)[0]; string(got.Payload) != "the answer" || d.Stats().Strangers != 1 {
		t.Errorf("got %q and %d strangers, want the answer and 1", got.Payload, d.Stats().Strangers)
	}
}

func TestDatagramThatCannotBeSent(t *testing.T) {
	var calls []string
	l := listenUDP(t, "127.0.0.1:0", Options{ReceiveBuffer: 1 << 20})
	d := dialUDP(t, at("127.0.0.1", l), Options{SendFailed: func(to netip.AddrPort, err error) {
		calls = append(calls, fmt.Sprint(to == netip.MustParseAddrPort(at("127.0.0.1", l)), err != nil))
	}})
	tooLong := bytes.Repeat([]byte("x"), 65536)
	batch := []Datagram{{Payload: []byte("hi")}, {Payload: tooLong}, {Payload: tooLong}, {Payload: []byte("ho")},
		{Payload: []byte("hu"), Remote: netip.MustParseAddrPort("[::1]:9")}}
	if err := d.WriteBatch(batch); err != nil {
		t.Fatal(err)
	}
	for i, fails := range []bool{false, true, true, false, true} {
		if (batch[i].Err != nil) != fails {
			t.Errorf("datagram %d: got error %v, want one: %v", i, batch[i].Err, fails)
		}
	}
	if got := read(t, l, 2); string(got[0].Payload)+string(got[1].Payload) != "hiho" {
		t.Errorf("got %q and %q, want hi and ho", got[0].Payload, got[1].Payload)
	}
	if fmt.Sprint(calls) != "[true true true false]" {
		t.Errorf("SendFailed was called with %v, want that it began and that it ended", calls)
	}
	if s := d.Stats(); s.Sent != 2 || s.Unsent != 3 {
		t.Errorf("got %d sent, %d not; want 2, 3", s.Sent, s.Unsent)
	}
}

func TestClosingWakesTheReader(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{})
	failed := make(chan error)
	go func() {
		_, err := l.ReadBatch([]Datagram{{Payload: make([]byte, 10)}})
		failed <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != net.ErrClosed {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	if err := l.WriteBatch([]Datagram{{Remote: netip.MustParseAddrPort("127.0.0.1:9")}}); err != net.ErrClosed {
		t.Errorf("got %v of WriteBatch, want net.ErrClosed", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestExclusivePort(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{Exclusive: true})
	if _, err := Listen(t.Context(), at("127.0.0.1", l), Options{Exclusive: true}); err == nil {
		t.Error("got a second exclusive listener, want an error")
	}
	if _, err := Listen(t.Context(), at("127.0.0.1", l), Options{}); err == nil && runtime.GOOS == "linux" {
		t.Error("got a listener that shares an exclusive port, want an error")
	}
}

func TestDatagramEndpointsRefused(t *testing.T) {
	group := []netip.Addr{netip.MustParseAddr("239.1.2.3")}
	both := append([]netip.Addr{netip.MustParseAddr("ff02::5")}, group...)
	tests := []struct {
		name, address string
		dial          bool
		options       Options
		want          string
	}{
		{"no port", "127.0.0.1", false, Options{}, `listen udp://127.0.0.1: got address "127.0.0.1", want HOST:PORT`},
		{"a bad port", "127.0.0.1:x y", false, Options{}, `got port "x y", want`},
		{"a bad interface", ":0", false, Options{Interfaces: []string{"10.0.0.0/99"}}, `got interface "10.0.0.0/99", want a name`},
		{"an empty interface", ":0", false, Options{Interfaces: []string{""}}, `got interface "", want a name`},
		{"no group", ":0", false, Options{Groups: []netip.Addr{limitedBroadcast}}, "got group 255.255.255.255, want a multicast"},
		{"groups of two families", ":0", false, Options{Groups: both}, "want groups of one family"},
		{"a group of the other family", "[::]:0", false, Options{Groups: group}, "want groups of the family of ::"},
		{"a group and a host", "127.0.0.1:0", false, Options{Groups: group}, "got groups and host 127.0.0.1, want no host"},
		{"a group twice", "239.9.9.9:0", false, Options{Groups: group}, "got groups and host 239.9.9.9, want no host"},
		{"an address elsewhere", "192.0.2.1:0", false, Options{}, "listen udp://192.0.2.1:0: bind: "},
		{"dial port 0", "127.0.0.1:0", true, Options{}, "dial udp://127.0.0.1:0: got port 0, want 1 to 65535"},
		{"dial nowhere", "0.0.0.0:9", true, Options{}, "got host 0.0.0.0, want an address"},
		{"dial with groups", "127.0.0.1:9", true, Options{Groups: group}, "got groups, want none"},
		{"dial with a bad ttl", "239.1.2.3:9", true, Options{TTL: 256}, "got ttl 256, want 0 to 255"},
		{"dial exclusively", "127.0.0.1:9", true, Options{Exclusive: true}, "got exclusive, want it not"},
		{"dial a zone and an interface", "[ff02::5%lo]:9", true, Options{Interfaces: []string{"lo"}}, `got interfaces and zone "lo"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			open := Listen
			if tt.dial {
				open = Dial
			}
			c, err := open(t.Context(), tt.address, tt.options)
			if err == nil {
				_ = c.Close()
				t.Fatalf("got an endpoint, want %q", tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestReadErrorsThatAreNoEnd(t *testing.T) {
	l := listenUDP(t, "127.0.0.1:0", Options{})
	if err := l.socket.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadBatch(make([]Datagram, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline exceeded", err)
	}
	if _, err := l.ReadBatch(nil); err == nil {
		t.Error("got nil for no memory, want an error")
	}
}

func TestEndpointsShareAWatch(t *testing.T) {
	w, err := netif.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l := listenUDP(t, "127.0.0.1:0", Options{Watch: w})
	d := dialUDP(t, at("127.0.0.1", l), Options{Watch: w})
	if n := w.Followers(); n != 2 {
		t.Errorf("got %d followers, want 2", n)
	}
	_ = d.Close()
	if n := w.Followers(); n != 1 || len(w.List()) == 0 {
		t.Errorf("got %d followers of %d interfaces after Close, want 1 of some", n, len(w.List()))
	}
	w.Close()
	send(t, dialUDP(t, at("127.0.0.1", l), Options{}), "hi")
	if got := read(t, l, 1)[0]; string(got.Payload) != "hi" {
		t.Errorf("got %q, want hi: endpoints go on without a watch", got.Payload)
	}
}

package host

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/framehost/framehost/host/control"
)

// garbage makes datagrams of random lengths and contents, some of which begin like valid ones.
type garbage struct {
	random   *rand.Rand
	noise    []byte
	messages []ipv4.Message
}

var garbageBegins = []string{
	"", "", "", "!", "\n", "hi\n", "hi\nho\n", "$GPGGA,092750.000,5321.6802,N", "<34>1 2003-10-11T22:14:15.003Z ",
	"\x00\x00\x00\x05hello", "\x7f\xff\xff\xff",
	"FHD", "FHD\x02", "FHD\x01\x01\x00\x00\x60", "FHD\x01\x02\x00\x00\x28", "FHD\x01\x03\x00\x00\x31",
	"FHD\x01\x01\x01\x04\xb0",
}

func newGarbage() *garbage {
	g := &garbage{random: rand.New(rand.NewPCG(1, 2)), noise: make([]byte, 4<<20), messages: make([]ipv4.Message, 64)}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(g.noise)
	for i, b := range g.noise {
		if b == '*' { // would crash the process of codec line; other tests use that
			g.noise[i] = '+'
		}
	}
	for i := range g.messages {
		g.messages[i].Buffers = make([][]byte, 2)
	}
	return g
}

// batch returns n datagrams, which are valid until the next call.
func (g *garbage) batch(n int) []ipv4.Message {
	for i := range g.messages[:n] {
		begin := garbageBegins[g.random.IntN(len(garbageBegins))]
		longest := 600
		if g.random.IntN(256) == 0 {
			longest = 65507 - len(begin) // up to the longest UDP datagram
		}
		size := g.random.IntN(longest + 1)
		from := g.random.IntN(len(g.noise) - size)
		g.messages[i].Buffers[0], g.messages[i].Buffers[1] = []byte(begin), g.noise[from:from+size]
	}
	return g.messages[:n]
}

// A target is a port to which garbage is sent.
type target struct {
	from []*ipv4.PacketConn // the senders, used in turn
	turn int
	sent int64
	// accounted returns how many datagrams the host has accounted for; nil if it can't account for all.
	accounted func(*control.Status) int64
}

// send sends n datagrams to each target, in batches.
func (g *garbage) send(t *testing.T, targets []target, n int) {
	t.Helper()
	for ; n > 0; n -= len(g.messages) {
		for i := range targets {
			to := &targets[i]
			to.turn++
			for batch := g.batch(min(n, len(g.messages))); len(batch) > 0; {
				sent, err := to.from[to.turn%len(to.from)].WriteBatch(batch, 0)
				if err != nil {
					t.Fatal(err)
				}
				batch, to.sent = batch[sent:], to.sent+int64(sent)
			}
		}
	}
}

// say sends one valid datagram.
func (to *target) say(t *testing.T, from int, datagram string) {
	t.Helper()
	if _, err := to.from[from].WriteBatch([]ipv4.Message{{Buffers: [][]byte{[]byte(datagram)}}}, 0); err != nil {
		t.Fatal(err)
	}
	to.sent++
}

// senders returns n sockets that send to an address.
func senders(t *testing.T, n int, to string) (all []*ipv4.PacketConn) {
	t.Helper()
	for range n {
		c, err := net.Dial("udp4", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, ipv4.NewPacketConn(c.(*net.UDPConn)))
	}
	return all
}

// reading receives frames of codec long, all of which must be whole.
type reading struct {
	frames atomic.Int64
	found  chan string // payloads that begin with the marker of readLong
	ended  chan struct{}
}

func readLong(t *testing.T, c net.Conn, marker string) *reading {
	r := &reading{found: make(chan string, 16), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		in, payload := bufio.NewReaderSize(c, 64<<10), make([]byte, 1<<16)
		for {
			var head [4]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			n := binary.BigEndian.Uint32(head[:])
			if n > uint32(len(payload)) {
				t.Errorf("got a frame of %d bytes, want no more than a datagram can have", n)
				return
			}
			if _, err := io.ReadFull(in, payload[:n]); err != nil {
				t.Errorf("got %v inside a frame", err)
				return
			}
			r.frames.Add(1)
			if strings.HasPrefix(string(payload[:n]), marker) {
				r.found <- string(payload[:n])
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-r.ended })
	return r
}

func (r *reading) expect(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case got := <-r.found:
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	case <-ctx.Done():
		t.Fatalf("%q did not arrive", want)
	}
}

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
)

// garbage makes datagrams of random lengths and contents, some of which begin like something that was meant.
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
		if b == '*' { // a process that serves codec line would end of it, which other tests want
			g.noise[i] = '+'
		}
	}
	for i := range g.messages {
		g.messages[i].Buffers = make([][]byte, 2)
	}
	return g
}

// batch returns n datagrams, until it is called again.
func (g *garbage) batch(n int) []ipv4.Message {
	for i := range g.messages[:n] {
		begin := garbageBegins[g.random.IntN(len(garbageBegins))]
		longest := 600
		if g.random.IntN(256) == 0 {
			longest = 65507 - len(begin) // the longest that there is
		}
		size := g.random.IntN(longest + 1)
		from := g.random.IntN(len(g.noise) - size)
		g.messages[i].Buffers[0], g.messages[i].Buffers[1] = []byte(begin), g.noise[from:from+size]
	}
	return g.messages[:n]
}

// A target is a port that garbage is sent to.
type target struct {
	from []*ipv4.PacketConn // who sends, in turns
	turn int
	sent int64
	// accounted returns how many datagrams are accounted for; nil where not all can be.
	accounted func(*Status) int64
}

// send sends n datagrams to each of the targets, a batch at a time.
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

// say sends one datagram that is meant.
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

// reading receives the frames of codec long, all of which must be whole, and tells of those that are asked for.
type reading struct {
	frames atomic.Int64
	found  chan string
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

package host

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/ipv4"
)

const (
	garbageDatagrams     = 1_000_000
	garbageDatagramsRace = 40_000 // with -short, or under the race detector

	garbageWindow = 1000 // datagrams to each port that are under way at most, until the last tenth of them
	garbageFlows  = 4    // peers that have one

	// What may be there afterwards that was not there before. Buffers are kept for the next datagrams, as many as were needed
	// at one time.
	garbageGoroutines = 5
	garbageHeap       = 8 << 20
	garbageLines      = 100 // of the log, besides those that time allows for
)

// garbage makes datagrams of random lengths and contents, some of which begin like something that was meant.
type garbage struct {
	random   *rand.Rand
	noise    []byte
	messages []ipv4.Message
}

var garbageBegins = []string{
	"", "", "", "!", "\n", "hi\n", "hi\nho\n", "$GPGGA,092750.000,5321.6802,N", "<34>1 2003-10-11T22:14:15.003Z ", "\x00\x00\x00\x05hello", "\x7f\xff\xff\xff",
	"FHD", "FHD\x02", "FHD\x01\x01\x00\x00\x60", "FHD\x01\x02\x00\x00\x28", "FHD\x01\x03\x00\x00\x31", "FHD\x01\x01\x01\x04\xb0",
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

// sender returns a socket that sends to an address.
func sender(t *testing.T, to string) *net.UDPConn {
	t.Helper()
	c, err := net.Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
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

// A million random datagrams, to everything of a host that takes datagrams, change nothing but its counters; and these
// account for every one of them.
func TestRandomDatagrams(t *testing.T) {
	const marker = "a frame that was meant, "
	count := garbageDatagrams
	if raceDetector || testing.Short() {
		count = garbageDatagramsRace
	}
	var book logBook
	up, answering, lan := listenUpstream(t), listenUpstream(t), freeLAN(t)
	h, err := Start(t.Context(), parse(t, lanHead(lan, "")+fmt.Sprintf(`
routes:
  - {name: framed, from: {listen: "udp://127.0.0.1:0", codec: line}, to: {listen: "tcp://127.0.0.1:0", codec: long}}
  - {name: plain, from: {listen: "udp://127.0.0.1:0", codec: none}, to: {listen: "tcp://127.0.0.1:0", codec: long}}
  - {name: flows, from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {max: %d, idle: 1h}}}, to: {dial: "tcp://%s", codec: long}}
  - name: stream
    from: {listen: "tcp://127.0.0.1:0", codec: line, announce: {service: stream, interval: 30m, ttl: 1h}}
    to: {dial: "tcp://%s", codec: long}
`, garbageFlows, answering.Addr(), up.Addr())), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(cut)
	})
	const framed, plain, flows, stream = 0, 1, 2, 3 // the routes

	// Somebody who meant it is everywhere, before and afterwards.
	targets := make([]target, 4)
	var readers []*reading // of what framed, plain, and each flow receive
	for i, name := range []string{"framed", "plain"} {
		c := dialAt(t, h, name, 1)
		readers = append(readers, readLong(t, c, marker))
		waitFor(t, h, func(s *Status) bool { return len(s.Routes[i].Hub.Live) == 2 })
		targets[i].from = []*ipv4.PacketConn{ipv4.NewPacketConn(sender(t, h.Addr(name).Address))}
	}
	write := func(to *target, from int, datagram string) {
		t.Helper()
		if _, err := to.from[from].WriteBatch([]ipv4.Message{{Buffers: [][]byte{[]byte(datagram)}}}, 0); err != nil {
			t.Fatal(err)
		}
		to.sent++
	}
	for i := range garbageFlows {
		targets[flows].from = append(targets[flows].from, ipv4.NewPacketConn(sender(t, h.Addr("flows").Address)))
		write(&targets[flows], i, marker+"first")
		c := answering.accept()
		_ = c.SetDeadline(time.Time{})
		readers = append(readers, readLong(t, c, marker))
		readers[2+i].expect(t, marker+"first")
	}
	down := dialRoute(t, h, "stream")
	_ = down.SetDeadline(time.Time{})
	peer := &net.TCPConn{}
	meant := func(when string) {
		t.Helper()
		write(&targets[framed], 0, marker+when+"\n")
		readers[0].expect(t, marker+when)
		write(&targets[plain], 0, marker+when)
		readers[1].expect(t, marker+when)
		for i := range garbageFlows {
			write(&targets[flows], i, marker+when)
			readers[2+i].expect(t, marker+when)
		}
		send(t, down, when+"\n")
		if when == "before" {
			peer = up.accept()
			_ = peer.SetDeadline(time.Time{})
		}
		expect(t, peer, long(when))
	}
	meant("before")
	// And one more, who gets no flow.
	stranger := sender(t, h.Addr("flows").Address)
	targets[flows].from = append(targets[flows].from, ipv4.NewPacketConn(stranger))
	const discovery = 3
	targets[discovery].from = []*ipv4.PacketConn{ipv4.NewPacketConn(sender(t, fmt.Sprintf("127.0.0.1:%d", lan)))}

	for i := range []int{framed, plain} {
		targets[i].accounted = func(s *Status) int64 {
			hub := s.Routes[i].Hub
			kernel := hub.Datagrams[0]
			return hub.DatagramsIn + int64(kernel.DroppedBySystem+kernel.Truncated+kernel.Elsewhere+kernel.Strangers)
		}
	}
	targets[flows].accounted = func(s *Status) int64 {
		f := s.Routes[flows].Flows
		return s.Routes[flows].ToUpstream.FramesIn + int64(f.Refused+f.Dropped+f.Datagrams.DroppedBySystem+f.Datagrams.Truncated)
	}
	accounted := func(underWay int64) {
		t.Helper()
		waitFor(t, h, func(s *Status) bool {
			for i := range targets {
				if to := &targets[i]; to.accounted != nil && to.accounted(s) < to.sent-underWay {
					return false
				}
			}
			return true
		})
	}
	atRest := func(s *Status) bool {
		for i := range s.Plugins {
			if s.Plugins[i].Outstanding > 0 {
				return false
			}
		}
		return s.Routes[framed].Hub.Live[1].QueuedFrames == 0 && s.Routes[plain].Hub.Live[1].QueuedFrames == 0
	}
	accounted(0)
	waitFor(t, h, atRest)
	g := newGarbage()
	before, heapBefore, goroutines := statusTree(t, h), heap(), runtime.NumGoroutine()
	baseline := h.Status()

	began := time.Now()
	each := count / len(targets)
	for sent := 0; sent < each; sent += garbageWindow {
		g.send(t, targets, min(garbageWindow, each-sent))
		if sent < each*9/10 { // the rest comes as fast as it can
			accounted(garbageWindow)
		}
	}
	accounted(0)
	took := time.Since(began)
	meant("afterwards")
	accounted(0)
	waitFor(t, h, func(s *Status) bool { return atRest(s) && s.Memory.Used <= baseline.Memory.Used })

	unchanged(t, "", before, statusTree(t, h))
	status := h.Status()
	for i := range targets {
		if to := &targets[i]; to.accounted != nil && to.accounted(status) != to.sent {
			t.Errorf("port %d: %d datagrams were sent, and %d are accounted for", i, to.sent, to.accounted(status))
		}
	}
	for i := range []int{framed, plain} {
		hub := status.Routes[i].Hub
		if hub.FramesIn != hub.FramesOut+hub.DroppedFrames {
			t.Errorf("route %d: %d frames came in, %d went out, and %d were dropped", i, hub.FramesIn, hub.FramesOut, hub.DroppedFrames)
		}
		waitFor(t, h, func(*Status) bool { return readers[i].frames.Load() == hub.FramesOut })
	}
	// Discovery isn't told how many the system drops. What it heard was ignored, for a reason that was counted, but for the
	// host's own packets.
	heard, ignored, own := discoveryCounts(status.Discovery)
	heardBefore, ignoredBefore, ownBefore := discoveryCounts(baseline.Discovery)
	heard, ignored, own = heard-heardBefore, ignored-ignoredBefore, own-ownBefore
	if ignored == 0 || ignored > targets[discovery].sent || heard < ignored || heard > ignored+own {
		t.Errorf("discovery: of %d packets %d were heard and %d ignored; want all that were heard, but for %d own ones",
			targets[discovery].sent, heard, ignored, own)
	}

	waitFor(t, h, func(*Status) bool { return runtime.NumGoroutine() <= goroutines+garbageGoroutines })
	if grown := heap() - heapBefore; grown > garbageHeap {
		t.Errorf("the heap has grown by %d bytes, want %d at most", grown, garbageHeap)
	}
	if lines, most := strings.Count(book.text(), "\n"), garbageLines+int(took.Seconds())*linesAtOnce; lines > most {
		t.Errorf("got %d lines in the log, want %d at most", lines, most)
	}
	hubs := []*HubStatus{status.Routes[framed].Hub, status.Routes[plain].Hub}
	t.Logf("%d datagrams in %v; the system dropped %d, %d and %d of %d each; %d violations; discovery ignored %d",
		count, took.Round(time.Millisecond), hubs[framed].Datagrams[0].DroppedBySystem, hubs[plain].Datagrams[0].DroppedBySystem,
		status.Routes[flows].Flows.Datagrams.DroppedBySystem, each, hubs[framed].Violations, ignored)
}

func discoveryCounts(s *DiscoveryStatus) (heard, ignored, own int64) {
	return s.Received, s.Malformed + s.OtherVersions + s.Unsigned + s.Forged, s.Sent
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // pools let go of what they have in two steps
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// statusTree is the status as `framehost status --json` shows it.
func statusTree(t *testing.T, h *Host) (tree any) {
	t.Helper()
	text, err := json.Marshal(h.Status())
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// notCounters are numbers of the status that are none.
var notCounters = map[string]bool{
	"pid": true, "id": true, "port": true, "connections": true, "used": true, "limit": true, "outstanding": true, "restarts": true,
	"live": true, "accepted": true, "queued_frames": true, "queued_bytes": true, "send_failed": true,
}

// unchanged reports what differs between two trees other than counters, which may grow.
func unchanged(t *testing.T, key string, before, after any) {
	t.Helper()
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if !ok || len(a) != len(b) {
			break
		}
		for k := range b {
			unchanged(t, key+"."+k, b[k], a[k])
		}
		return
	case []any:
		a, ok := after.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range b {
			unchanged(t, key, b[i], a[i])
		}
		return
	case float64:
		if a, ok := after.(float64); ok && (a == b || a > b && !notCounters[name]) {
			return
		}
	default:
		if reflect.DeepEqual(before, after) {
			return
		}
	}
	t.Errorf("%s: got %v, before it was %v", key, after, before)
}

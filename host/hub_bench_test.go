package host

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/framehost/framehost/host/config"
)

// BenchmarkHub measures how fast one sender of datagrams can send to 1 and to 100 TCP receivers. It sends an NMEA 0183
// sentence (71 bytes and CR LF) at a steady rate for 400 ms, and searches for the highest rate, to
//
//   - a whole host, from UDP with codec nmea0183 to TCP with codec newline, with the plugin processes as they are installed
//     and the default queues and buffers (hub),
//   - a loop without codecs that reads a datagram, and writes it and LF to each connection (loop),
//   - and such a loop that reads many datagrams at once and writes them together (batched).
//
// Sender and receivers run in the same process, on the same processors, and cost little: they use batches of datagrams and
// large reads. A rate is sustained if every receiver gets every datagram, and gets the last one at most 40 ms after the
// sending has ended, so that buffers do not hide an overload. Loss begins at the lowest rate at which a datagram is lost in
// two attempts.
//
// Its result does not depend on b.N:
//
//	go test -run '^$' -bench '^BenchmarkHub$' ./host
func BenchmarkHub(b *testing.B) {
	plugin := buildPlugin(b, "escape")
	for _, receivers := range []int{1, 100} {
		b.Run(fmt.Sprintf("receivers=%d", receivers), func(b *testing.B) {
			for range b.N {
				hub := measured(b, "hub", receivers, hostCourse(b, plugin), true)
				loop := measured(b, "loop", receivers, loopCourse(b, 1), false)
				batched := measured(b, "batched", receivers, loopCourse(b, 128), false)
				b.ReportMetric(hub/loop, "hub/loop")
				b.ReportMetric(hub/batched, "hub/batched")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	benchSentence = "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76"
	benchFrame    = len(benchSentence) + 1 // bytes, with LF

	sendingTime = 400 * time.Millisecond // duration of an attempt
	overtime    = sendingTime / 10       // how much later the last datagram may arrive
	silence     = 400 * time.Millisecond // datagrams that have not arrived after this pause are lost
	pacing      = time.Millisecond       // pause between batches of the sender

	slowest   = 2000.0 // lowest rate tried, in datagrams a second
	precision = 1.06   // the search ends at this ratio between a bad and a good rate
)

// A course relays datagrams from a UDP socket to TCP connections.
type course struct {
	udp, tcp string
	ready    func(receivers int) // waits until all receivers are connected
	lost     func() string       // describes where datagrams were lost
	close    func()
}

func buildPlugin(b *testing.B, name string) (path string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "framehost-codec-"+name)
	program := "github.com/framehost/framehost/plugins/" + name + "/framehost-codec-" + name
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", path, program).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return path
}

func hostCourse(b *testing.B, plugin string) course {
	b.Helper()
	c, err := config.Parse("bench.yaml", "yaml", fmt.Appendf(nil, `
plugins: [{name: escape, path: %q}]
codecs: [{name: nmea, profile: nmea0183}, {name: text, profile: newline}]
routes:
  - name: feed
    from: {listen: "udp://127.0.0.1:0", codec: nmea}
    to: {listen: "tcp://127.0.0.1:0", codec: text}
`, plugin), config.LoadOptions{Builtin: []string{"line"}})
	if err != nil {
		b.Fatal(err)
	}
	h, err := Start(b.Context(), c, Options{})
	if err != nil {
		b.Fatal(err)
	}
	addrs := h.Addrs("feed")
	return course{
		udp: addrs[0].Address, tcp: addrs[1].Address,
		ready: func(receivers int) {
			for len(h.Status().Routes[0].Hub.Live) < 1+receivers {
				runtime.Gosched()
			}
		},
		lost: func() string {
			hub := h.Status().Routes[0].Hub
			return fmt.Sprintf("%d by the system, %d in queues, %d otherwise", hub.Datagrams[0].DroppedBySystem, hub.DroppedFrames,
				hub.Violations+hub.Starved+hub.Unrepresentable)
		},
		close: func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = h.Shutdown(ctx)
		},
	}
}

// loopCourse relays in a simple loop without framehost, up to batch datagrams at once.
func loopCourse(b *testing.B, batch int) course {
	b.Helper()
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	_ = in.SetReadBuffer(4 << 20) // as in framehost
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var accepted atomic.Int32
	var mu sync.Mutex
	var receivers []net.Conn
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			receivers = append(receivers, c)
			mu.Unlock()
			accepted.Add(1)
		}
	})
	write := func(lines []byte) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range receivers {
			_, _ = c.Write(lines)
		}
	}
	work.Go(func() {
		if batch == 1 {
			relaySingly(in, write)
		} else {
			relayBatches(in, batch, write)
		}
	})
	return course{
		udp: in.LocalAddr().String(), tcp: l.Addr().String(),
		ready: func(receivers int) {
			for int(accepted.Load()) < receivers {
				runtime.Gosched()
			}
		},
		close: func() {
			in.Close()
			l.Close()
			work.Wait()
			for _, c := range receivers {
				c.Close()
			}
		},
	}
}

func relaySingly(in *net.UDPConn, write func([]byte)) {
	datagram := make([]byte, 1<<16)
	for {
		n, _, err := in.ReadFromUDPAddrPort(datagram)
		if err != nil {
			return
		}
		write(append(bytes.TrimSuffix(datagram[:n], []byte("\r\n")), '\n'))
	}
}

func relayBatches(in *net.UDPConn, batch int, write func([]byte)) {
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 1<<16)}
	}
	reader := ipv4.NewPacketConn(in)
	var lines []byte
	for {
		n, err := reader.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		lines = lines[:0]
		for i := range messages[:n] {
			lines = append(append(lines, bytes.TrimSuffix(messages[i].Buffers[0][:messages[i].N], []byte("\r\n"))...), '\n')
		}
		write(lines)
	}
}

// measured reports the metrics of a course, and returns the rate that it sustains.
func measured(b *testing.B, name string, receivers int, c course, loss bool) (sustained float64) {
	b.Helper()
	defer c.close()
	t := newBenchLoad(b, c, receivers)
	defer t.close()
	c.ready(receivers)
	t.attempt(slowest) // warm-up
	sustained, _ = t.search(slowest, func(o outcome) bool { return o.lost == 0 && o.late < overtime })
	b.ReportMetric(sustained, name+"-sustained/s")
	if !loss {
		return sustained
	}
	kept, lossy := t.search(sustained, func(o outcome) bool { return o.lost == 0 })
	if lossy == math.Inf(1) {
		b.Logf("%s, %d receivers: nothing is lost at %.0f/s, the most that the sender can", name, receivers, kept)
		return sustained
	}
	b.ReportMetric(lossy, name+"-loses-at/s")
	b.Logf("%s, %d receivers: lost %s", name, receivers, c.lost())
	return sustained
}

// A benchLoad is a sender and its receivers.
type benchLoad struct {
	b        *testing.B
	out      *net.UDPConn
	writer   *ipv4.PacketConn
	batch    []ipv4.Message
	conns    []net.Conn
	received atomic.Int64 // bytes, by all receivers
	work     sync.WaitGroup
}

func newBenchLoad(b *testing.B, c course, receivers int) *benchLoad {
	b.Helper()
	t := &benchLoad{b: b, batch: make([]ipv4.Message, 64)}
	to, err := net.ResolveUDPAddr("udp4", c.udp)
	if err != nil {
		b.Fatal(err)
	}
	if t.out, err = net.DialUDP("udp4", nil, to); err != nil {
		b.Fatal(err)
	}
	t.writer = ipv4.NewPacketConn(t.out)
	for i := range t.batch {
		t.batch[i].Buffers = [][]byte{[]byte(benchSentence + "\r\n")}
	}
	for range receivers {
		conn, err := net.Dial("tcp", c.tcp)
		if err != nil {
			b.Fatal(err)
		}
		t.conns = append(t.conns, conn)
		t.work.Go(func() {
			for wire := make([]byte, 64<<10); ; {
				n, err := conn.Read(wire)
				t.received.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	return t
}

func (t *benchLoad) close() {
	t.out.Close()
	for _, c := range t.conns {
		c.Close()
	}
	t.work.Wait()
}

type outcome struct {
	rate float64       // datagrams a second really sent, which is less than requested if the sender is too slow
	lost int64         // datagrams, by all receivers together; below 0: some of an earlier attempt arrived
	late time.Duration // from the end of sending until the last datagram arrived
}

// attempt sends at a rate and waits for the datagrams to arrive. It tries again if more arrive than were sent: on a busy
// machine, datagrams that an earlier attempt counted as lost may come late.
func (t *benchLoad) attempt(rate float64) outcome {
	t.b.Helper()
	for {
		if o := t.send(rate); o.lost >= 0 {
			return o
		}
	}
}

func (t *benchLoad) send(rate float64) outcome {
	t.b.Helper()
	total := int(rate * sendingTime.Seconds())
	before, began := t.received.Load(), time.Now()
	for sent := 0; sent < total; {
		due := min(total, int(rate*time.Since(began).Seconds()))
		if due == sent {
			time.Sleep(pacing)
			continue
		}
		for sent < due {
			n, err := t.writer.WriteBatch(t.batch[:min(due-sent, len(t.batch))], 0)
			if err != nil {
				t.b.Fatal(err)
			}
			sent += n
		}
	}
	took := time.Since(began)
	all := before + int64(total)*int64(len(t.conns))*int64(benchFrame)
	last, news := t.received.Load(), time.Now()
	for last < all && time.Since(news) < silence {
		time.Sleep(pacing)
		if now := t.received.Load(); now != last {
			last, news = now, time.Now()
		}
	}
	if (all-last)%int64(benchFrame) != 0 {
		t.b.Fatalf("got %d bytes, want %d or whole frames less", last-before, all-before)
	}
	return outcome{float64(total) / took.Seconds(), (all - last) / int64(benchFrame), news.Sub(began) - took}
}

// search returns the highest rate for which well returns true, and the lowest for which it returns false, or infinity if the
// sender can't send that fast. It begins at from, for which well must return true.
func (t *benchLoad) search(from float64, well func(outcome) bool) (good, bad float64) {
	try := func(rate float64) (o outcome, ok bool) {
		for range 2 { // other processes may have disturbed the first attempt
			if o = t.attempt(rate); well(o) {
				return o, true
			}
			if o.late > sendingTime {
				break
			}
		}
		return o, false
	}
	good, bad = from, math.Inf(1)
	for bad > good*precision {
		rate := 2 * good
		if bad != math.Inf(1) {
			rate = math.Sqrt(good * bad)
		}
		o, ok := try(rate)
		if !ok {
			bad = min(rate, o.rate)
			continue
		}
		if o.rate < good*precision { // the sender can't send faster
			return good, bad
		}
		good = o.rate
	}
	return good, bad
}

package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

// BenchmarkHostMallocs shows that a host in its steady state allocates nothing for a frame. It runs a host with the plugins
// escape and lenprefix as they are installed, sends lines through it, and counts the allocations of this process: those of
// host, sender and receiver together, of which sender and receiver allocate nothing.
//
// One op is a frame of 256 bytes. Flood sends frames as fast as the host accepts them, in whole blocks for each connection.
// Ping sends each frame when the one before has arrived, so that each call has one frame and a batch hides nothing. With
// shared memory, the benchmark fails at more than mallocsAllowed. With gRPC, each call allocates about a dozen times, for any
// number of frames; the benchmark only reports this.
//
//	go test -run '^$' -bench '^BenchmarkHostMallocs$' ./host
func BenchmarkHostMallocs(b *testing.B) {
	escape, lenprefix := buildPlugin(b, "escape"), buildPlugin(b, "lenprefix")
	for _, plane := range []string{"auto", "grpc"} {
		for _, conns := range []int{1, 20} {
			b.Run(fmt.Sprintf("data_plane=%s/flood/conns=%d", plane, conns), func(b *testing.B) {
				t := startMallocs(b, plane, conns, escape, lenprefix)
				t.count(b, func(frames int) int { return t.flood(b, frames) })
			})
		}
		b.Run(fmt.Sprintf("data_plane=%s/ping", plane), func(b *testing.B) {
			t := startMallocs(b, plane, 1, escape, lenprefix)
			t.count(b, func(frames int) int { return t.ping(b, frames) })
		})
	}
}

const (
	mallocsAllowed = 0.001 // for each frame
	mallocsBesides = 100   // allowed in addition, for periodic work such as returning memory

	mallocsPayload = 256
	mallocsBlock   = 1000              // frames sent at once
	mallocsWarmup  = 20 * mallocsBlock // frames on each connection until pools and shared memory have grown
)

// A mallocsLoad has connections through a host, and the goroutines that send and receive on them.
type mallocsLoad struct {
	host     *Host
	plane    string
	down, up []net.Conn
	lines    []byte     // the wire of a block that is sent
	frame    []byte     // the wire of a frame that arrives
	got      []byte     // read buffer of ping
	orders   []chan int // one for each worker: how many blocks to send or receive
	done     chan error // the result of each order
}

// startMallocs starts a host, which ends with b.
func startMallocs(b *testing.B, plane string, conns int, escape, lenprefix string) *mallocsLoad {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	c, err := config.Parse("bench.yaml", "yaml", fmt.Appendf(nil, `
data_plane: %s
plugins: [{name: escape, path: %q}, {name: lenprefix, path: %q}]
codecs:
  - {name: line, plugin: escape, options: {terminator: LF, style: none}}
  - {name: counted, plugin: lenprefix, options: {width: 4, format: be}}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: counted}}
`, plane, escape, lenprefix, l.Addr()), config.LoadOptions{Builtin: []string{"line"}})
	if err != nil {
		b.Fatal(err)
	}
	h, err := Start(b.Context(), c, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(ctx)
	})
	payload := bytes.Repeat([]byte("x"), mallocsPayload)
	t := &mallocsLoad{
		host:  h,
		plane: h.Status().Plugins[0].DataPlane,
		lines: bytes.Repeat(append(bytes.Clone(payload), '\n'), mallocsBlock),
		frame: append(binary.BigEndian.AppendUint32(nil, mallocsPayload), payload...),
		got:   make([]byte, 4+mallocsPayload),
		done:  make(chan error, 2*conns),
	}
	for range conns {
		down, err := net.Dial("tcp", h.Addr("r").Address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { down.Close() })
		up, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { up.Close() })
		t.down, t.up = append(t.down, down), append(t.up, up)
		sends, receives := make(chan int), make(chan int)
		b.Cleanup(func() { close(sends); close(receives) })
		t.orders = append(t.orders, sends, receives)
		go t.work(sends, func() error { _, err := down.Write(t.lines); return err })
		want := bytes.Repeat(t.frame, mallocsBlock)
		got := make([]byte, len(want))
		go t.work(receives, func() error {
			if _, err := io.ReadFull(up, got); err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return errors.New("got other frames than were sent")
			}
			return nil
		})
	}
	return t
}

// work calls block as often as each order says, and sends the result of the order to t.done.
func (t *mallocsLoad) work(orders <-chan int, block func() error) {
	for blocks := range orders {
		var err error
		for ; blocks > 0 && err == nil; blocks-- {
			err = block()
		}
		t.done <- err
	}
}

// flood relays at least frames frames, in whole blocks for each connection, and returns how many.
func (t *mallocsLoad) flood(b *testing.B, frames int) int {
	b.Helper()
	blocks := (frames + len(t.down)*mallocsBlock - 1) / (len(t.down) * mallocsBlock)
	for _, orders := range t.orders {
		orders <- blocks
	}
	for range t.orders {
		if err := <-t.done; err != nil {
			b.Fatal(err)
		}
	}
	return blocks * len(t.down) * mallocsBlock
}

// ping relays frames frames one after the other on one connection, and returns how many.
func (t *mallocsLoad) ping(b *testing.B, frames int) int {
	b.Helper()
	line := t.lines[:mallocsPayload+1]
	for range frames {
		if _, err := t.down[0].Write(line); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(t.up[0], t.got); err != nil || !bytes.Equal(t.got, t.frame) {
			b.Fatalf("got %q (%v), want %q", t.got, err, t.frame)
		}
	}
	return frames
}

// count reports the allocations for each frame while carry relays b.N frames or more. Before that it brings the host into its
// steady state: spare processes of plugins are started once after the first use, which allocates thousands of times.
func (t *mallocsLoad) count(b *testing.B, carry func(frames int) int) {
	b.Helper()
	carry(mallocsWarmup) // the first call of a plugin starts its spare process
	waitFor(b, t.host, func(s *control.Status) bool {
		return !slices.ContainsFunc(s.Plugins, func(p control.PluginStatus) bool { return len(p.Spares) == 0 })
	})
	carry(mallocsWarmup * len(t.down))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	frames := float64(carry(b.N))
	b.StopTimer()
	runtime.ReadMemStats(&after)
	mallocs := float64(after.Mallocs - before.Mallocs)
	b.ReportMetric(mallocs/frames, "mallocs/frame")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/frames, "malloc-B/frame")
	if most := mallocsAllowed*frames + mallocsBesides; t.plane == "shm" && mallocs > most {
		b.Errorf("got %.0f mallocs for %.0f frames, want at most %.0f", mallocs, frames, most)
	}
}

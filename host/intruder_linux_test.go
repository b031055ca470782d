package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/codecs/codecshm"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/internal/intruder"
)

const (
	// intrusionVariable names an environment variable with the minimum duration of the attack, such as 30s. In any case the
	// attack lasts until each intruder has tried everything and has had intruderVisits sessions.
	intrusionVariable = "FRAMEHOST_TEST_INTRUSION"
	intruderVisits    = 5
	intrusionLimit    = 3 * time.Minute // more than any machine needs

	intruders      = 3  // number of malicious plugins, each in a route of its own
	intruderPeers  = 3  // peers at a time for each of those routes
	goodSessions   = 50 // sessions that do not use the intruders
	reportVariable = "INTRUDER_REPORT"
	intruderHeap   = 8 << 20 // bytes by which the heap may grow, because pools keep memory
)

func init() {
	if len(os.Args) == 2 && os.Args[1] == "intruder" {
		intrude()
		os.Exit(0)
	}
}

// intrude is a plugin that serves codec line, and meanwhile attacks all memory and files that it shares with the host.
func intrude() {
	report, err := os.OpenFile(os.Getenv(reportVariable), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	files := make(chan *os.File, 1000)
	if err := intruder.Intercept(func(f *os.File) { files <- f }); err != nil {
		panic(err)
	}
	go func() {
		for f := range files {
			if f == nil {
				return
			}
			kind := intruder.KindOf(f)
			if kind == intruder.Other {
				go meddle(f, rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(f.Fd()))))
				continue
			}
			tried, breaches := intruder.Attack(f)
			fmt.Fprintf(report, "tried %d ways into memory of kind %d, and got in by %q\n", tried, kind, breaches)
			f.Close()
		}
	}()
	go func() {
		<-time.After(time.Duration(random.IntN(500)) * time.Millisecond)
		for {
			regions, err := intruder.Regions()
			if err != nil {
				panic(err)
			}
			if flips := 1 << random.IntN(12); len(regions) > 0 {
				intruder.Flip(random, regions, flips)
				fmt.Fprintf(report, "flipped %d bytes\n", flips)
			}
			<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
		}
	}()
	codecrpc.Serve(testCodecs["line"])
}

// meddle writes wake-ups for which the host has no work, and reads those that are meant for the SDK.
func meddle(pipe *os.File, random *rand.Rand) {
	fd := int(pipe.Fd())
	_ = unix.SetNonblock(fd, true)
	for b := make([]byte, 64); ; {
		<-time.After(time.Duration(random.IntN(200)) * time.Millisecond)
		if random.IntN(2) == 0 {
			_, _ = unix.Write(fd, b)
		} else {
			_, _ = unix.Read(fd, b)
		}
	}
}

// intrusionConfig returns a configuration with one route of good plugins, and for each intruder a route that uses it, with
// an intruder or a good plugin on the other side.
func intrusionConfig(t *testing.T, report string, good, other net.Addr) *config.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var yaml bytes.Buffer
	fmt.Fprintf(&yaml, "data_plane: shm\ntimeouts: {codec: 1s}\nplugins:\n")
	for i := range intruders {
		fmt.Fprintf(&yaml, "  - {name: intruder%d, path: %q, args: [intruder], env: {%s: %q}}\n", i, program, reportVariable, report)
	}
	fmt.Fprintf(&yaml, "codecs:\n  - {name: line, plugin: line}\n  - {name: long, plugin: long}\n")
	for i := range intruders {
		fmt.Fprintf(&yaml, "  - {name: intruder%d, plugin: intruder%d}\n", i, i)
	}
	fmt.Fprintf(&yaml, "routes:\n  - {name: good, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: long}}\n", good)
	for i, sides := range [intruders][2]string{{"intruder0", "intruder0"}, {"intruder1", "long"}, {"line", "intruder2"}} {
		fmt.Fprintf(&yaml, "  - {name: r%d, from: {listen: \"tcp://127.0.0.1:0\", codec: %s}, to: {dial: \"tcp://%s\", codec: %s}}\n",
			i, sides[0], other, sides[1])
	}
	c, err := config.Parse("test.yaml", "yaml", yaml.Bytes(), config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// echoAll sends back the bytes that come on each connection, until l is closed. It ignores errors; the dialing side reports them.
func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
	}
}

// visit sends lines to a route until ctx ends, on one connection after another. It ignores the bytes that come back.
func visit(ctx context.Context, address string, seed uint64, visits *atomic.Int64) {
	for next := lines(seed); ctx.Err() == nil; {
		c, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		visits.Add(1)
		_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		stop := context.AfterFunc(ctx, func() { c.Close() })
		go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		for err == nil {
			_, err = c.Write(next())
		}
		stop()
		c.Close()
	}
}

// holdings counts the resources of this process that may leak.
type holdings struct {
	mappings, files, goroutines int
	heap                        int64
}

func takeStock(t *testing.T) (h holdings) {
	t.Helper()
	mapped, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return holdings{strings.Count(string(mapped), "/memfd:framehost"), len(files), runtime.NumGoroutine(), heap()}
}

// Plugins that overwrite at random moments all memory that they share with the host harm only the sessions that use them: no
// other session, and not the host. They can't write to memory that they may only read.
func TestIntruders(t *testing.T) {
	if err := codecshm.Supported(); err != nil {
		t.Skip(err)
	}
	duration, err := time.ParseDuration(cmp.Or(os.Getenv(intrusionVariable), "0s"))
	if err != nil {
		t.Fatalf("%s: %v", intrusionVariable, err)
	}
	before := takeStock(t)
	good, other := listenUpstream(t), listenUpstream(t)
	reportFile := filepath.Join(t.TempDir(), "report")
	var book logBook
	h, err := Start(t.Context(), intrusionConfig(t, reportFile, good.Addr(), other.Addr()), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	shutDown := func() error {
		cut, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := h.Shutdown(cut); err != nil && !errors.Is(err, control.ErrCut) {
			return err
		}
		return nil
	}
	t.Cleanup(func() { _ = shutDown() })
	go echoAll(good)
	go echoAll(other)

	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var traffic sync.WaitGroup
	var visits [intruders]atomic.Int64
	var received atomic.Int64
	began := time.Now()
	for i := range uint64(goodSessions) {
		down := dialRoute(t, h, "good")
		_ = down.SetDeadline(time.Now().Add(duration + intrusionLimit + time.Minute))
		traffic.Go(func() { sendLines(t, ctx, down, i) })
		traffic.Go(func() {
			defer down.Close()
			compareLines(t, countingReader{down, &received}, i)
		})
	}
	for i := range intruders {
		for j := range intruderPeers {
			address := h.Addr(fmt.Sprintf("r%d", i)).Address
			traffic.Go(func() { visit(ctx, address, uint64(i*intruderPeers+j), &visits[i]) })
		}
	}
	all := func(ok func(visits int64) bool) bool {
		for i := range visits {
			if !ok(visits[i].Load()) {
				return false
			}
		}
		return true
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(duration + intrusionLimit); ctx.Err() == nil; {
		select {
		case <-look.C:
			r := readReport(t, reportFile)
			if time.Since(began) >= duration && r.enough() && all(func(n int64) bool { return n >= intruderVisits }) {
				enough()
			}
		case <-limit:
			enough()
		}
	}
	traffic.Wait()
	duration = time.Since(began)

	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].Closed["fin"] == goodSessions && len(s.Routes[0].Closed) == 1
	})
	closed := map[string]int64{}
	restarts := 0
	for _, p := range h.Status().Plugins {
		if p.DataPlane != "shm" {
			t.Errorf("plugin %s is called by %s (%s)", p.Name, p.DataPlane, p.DataPlaneReason)
		}
		if strings.HasPrefix(p.Name, "intruder") {
			restarts += p.Restarts
			t.Logf("plugin %s, %d restarts: %s", p.Name, p.Restarts, p.LastError)
		} else if p.Restarts > 0 {
			t.Errorf("plugin %s, which behaves, was restarted: %s", p.Name, p.LastError)
		}
	}
	for _, r := range h.Status().Routes[1:] {
		for reason, n := range r.Closed {
			closed[reason] += n
		}
	}
	if err := shutDown(); err != nil {
		t.Error(err)
	}
	good.Close()
	other.Close()

	report := readReport(t, reportFile)
	for _, line := range report.breaches {
		t.Error(line)
	}
	if !report.enough() || !all(func(n int64) bool { return n > 0 }) {
		t.Errorf("%d pieces of memory that may only be read, %d bytes overwritten, %d, %d and %d sessions with intruders; want some of each",
			report.readOnly, report.flips, visits[0].Load(), visits[1].Load(), visits[2].Load())
	}
	after := takeStock(t)
	for limit := time.After(patience); after.goroutines > before.goroutines+garbageGoroutines || after.files > before.files; after = takeStock(t) {
		select {
		case <-look.C:
			continue
		case <-limit:
			t.Errorf("%d goroutines and %d files are left, of %d and %d before", after.goroutines, after.files, before.goroutines, before.files)
		}
		break
	}
	if after.mappings != before.mappings || after.heap > before.heap+intruderHeap {
		t.Errorf("%d pieces of memory are mapped and the heap has %d bytes; before, it was %d and %d",
			after.mappings, after.heap, before.mappings, before.heap)
	}
	t.Logf("in %v: %d MiB in %d sessions arrived as they were sent; intruders overwrote %d bytes, tried %d ways into %d pieces that they may only "+
		"read, and were restarted %d times; their %d sessions ended with %v", duration, received.Load()>>20, goodSessions, report.flips,
		report.attacks, report.readOnly, restarts, visits[0].Load()+visits[1].Load()+visits[2].Load(), closed)
}

// A report counts the attacks of the intruders.
type report struct {
	attacks, readOnly, flips int
	breaches                 []string
}

// enough reports whether there are enough attacks for each intruder to have tried both kinds of read-only memory.
func (r *report) enough() bool { return r.readOnly >= 2*intruders && r.flips > 0 }

func readReport(t *testing.T, file string) (r report) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var ways, kind, n int
		if k, _ := fmt.Sscanf(line, "tried %d ways into memory of kind %d", &ways, &kind); k == 2 {
			r.attacks += ways
			if intruder.File(kind) == intruder.ReadOnly {
				r.readOnly++
			}
			if !strings.HasSuffix(line, "got in by []\n") {
				r.breaches = append(r.breaches, line)
			}
		} else if _, err := fmt.Sscanf(line, "flipped %d bytes", &n); err == nil {
			r.flips += n
		}
	}
	return r
}

// A countingReader counts the bytes that are read.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (r countingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n.Add(int64(n))
	return n, err
}

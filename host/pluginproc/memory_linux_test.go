package pluginproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// possessions counts the shared memory mappings and files of this process.
type possessions struct{ mappings, files int }

func takeStock(t *testing.T) (p possessions) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	p.mappings = strings.Count(string(maps), "/memfd:framehost")
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	p.files = len(files)
	return p
}

// expectStock closes p and checks that no more shared memory is left than before.
func expectStock(t *testing.T, p *Plugin, before possessions) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if now := takeStock(t); now.mappings != before.mappings || now.files > before.files {
		t.Errorf("there are %d mappings and %d files, before there were %d and %d", now.mappings, now.files, before.mappings, before.files)
	}
}

// warmUp makes the runtime and libraries open the files that they never close.
func warmUp(t *testing.T) {
	t.Helper()
	p := mustStart(t, by(SHM, Spec{Name: "numbered"}), quick(newJournal()))
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// The host releases the memory that it shared with a process, however the process ends.
func TestNothingIsLeftOfTheMemoryOfTheDead(t *testing.T) {
	needsSharedMemory(t)
	warmUp(t)
	before := takeStock(t)
	options := quick(newJournal())
	options.CallTimeout = 500 * time.Millisecond // long enough on a busy machine
	p := mustStart(t, by(SHM, Spec{Name: "numbered"}), options)
	c := mustConfigure(t, p)
	ctx := testContext(t)
	for i, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGSTOP} {
		var all sync.WaitGroup
		for j := range 8 {
			all.Go(func() {
				for k, n := newTalk(c), 0; n < 20; n++ {
					if err := k.say(ctx, fmt.Sprint(i, j, n), strings.Repeat("x", n*3000)); err != nil {
						t.Errorf("%v: %v", end, err)
						return
					}
				}
			})
		}
		in, err := p.await(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(in.pid(), end); err != nil {
			t.Error(err)
		}
		all.Wait()
		if err := newTalk(c).say(ctx, "the next one"); err != nil {
			t.Error(err)
		}
		<-in.done()
	}
	if s := p.Status(); s.Restarts < 5 || s.DataPlane != "shm" {
		t.Errorf("status %+v", s)
	}
	expectStock(t, p, before)
}

// Lent and borrowed memory stays readable after the process that shared it is dead, and even after the plugin is closed. A call with bytes
// in that memory is made on the process that is up.
func TestMemoryOutlivesItsProcess(t *testing.T) {
	needsSharedMemory(t)
	warmUp(t)
	before := takeStock(t)
	p := mustStart(t, by(SHM, Spec{Name: "numbered"}), quick(newJournal()))
	c := mustConfigure(t, p)
	ctx := testContext(t)
	const want = "0:hi\n1:ho\n"
	loan := c.(codeccall.Lender).Lend(1 << 16)
	if loan == nil {
		t.Fatal("no memory is lent")
	}
	shown := codeccall.Decode{Wire: loan.Bytes()[:copy(loan.Bytes(), want)], Lent: loan, Borrow: true, Room: 1 << 16}
	said := codeccall.Encode{
		Data: []byte("hiho"), Refs: []codecs.Ref{{Off: 0, Len: 2}, {Off: 2, Len: 2}}, Room: 1 << 16, Borrow: true,
	}
	var decoded codeccall.Decoded
	var encoded codeccall.Encoded
	check := func(when string) {
		t.Helper()
		if string(shown.Wire) != want || string(encoded.Wire) != want || encoded.Lent == nil || len(decoded.Refs) != 2 || decoded.Fault != nil {
			t.Fatalf("%s: got %q and %+v of %q", when, encoded.Wire, decoded, shown.Wire)
		}
	}
	d := c.Open()
	if err := d.Encode(ctx, &said, &encoded); err != nil {
		t.Fatal(err)
	}
	for _, end := range []syscall.Signal{0, syscall.SIGKILL} {
		in, err := p.await(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if end != 0 {
			if err := syscall.Kill(in.pid(), end); err != nil {
				t.Fatal(err)
			}
			<-in.done()
		}
		if err := c.Open().Decode(ctx, &shown, &decoded); err != nil {
			t.Fatal(err)
		}
		check(end.String())
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
	if now := takeStock(t); now.mappings == before.mappings {
		t.Error("nothing is mapped")
	}
	encoded.Return()
	decoded.Return()
	loan.End()
	expectStock(t, p, before)
}

// A child that outlives its plugin and overwrites all memory that the plugin shared with the host does no harm.
func TestChildOfTheDeadScribbles(t *testing.T) {
	needsSharedMemory(t)
	warmUp(t)
	spec := by(SHM, program(t, "with-scribbler"))
	l := holderSocket(t, &spec)
	spec.Env["SCRIBBLER_ONCE"] = filepath.Join(t.TempDir(), "once")
	before := takeStock(t)
	p := mustStart(t, spec, quick(newJournal()))
	child, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	before.files++
	c := mustConfigure(t, p)
	ctx := testContext(t)
	var all sync.WaitGroup
	const talkers, half = 4, 100
	var said, scribbling sync.WaitGroup
	said.Add(talkers)
	scribbling.Add(1)
	for i := range talkers {
		all.Go(func() {
			k := newTalk(c)
			for j := range 2 * half {
				if j == half { // the next calls are under way when the process dies
					said.Done()
				}
				if j == half+half/2 {
					scribbling.Wait()
				}
				if err := k.say(ctx, fmt.Sprint(i, j), strings.Repeat("x", j*13%4000)); err != nil {
					t.Errorf("talker %d, saying %d: %v", i, j, err)
					if j < half {
						said.Done()
					}
					return
				}
			}
		})
	}
	said.Wait()
	if err := syscall.Kill(pid(t, p), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := child.SetReadDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	regions := make([]byte, 1)
	if _, err := child.Read(regions); err != nil || regions[0] < 2 {
		t.Errorf("the child overwrites %d pieces of memory, and %v", regions[0], err)
	}
	scribbling.Done()
	all.Wait()
	if s := p.Status(); s.Restarts != 1 || s.DataPlane != "shm" {
		t.Errorf("status %+v", s)
	}
	expectStock(t, p, before)
}

//go:build unix

package pluginproc

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pid returns the number of the process that is up.
func pid(t *testing.T, p *Plugin) int {
	t.Helper()
	in, err := p.await(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return in.pid()
}

func TestKilledUnderTraffic(t *testing.T) { onPlanes(t, killedUnderTraffic) }

func killedUnderTraffic(t *testing.T, plane DataPlane) {
	const talkers, sayings, kills, between = 6, 200, 12, 150
	j := newJournal()
	p := mustStart(t, by(plane, Spec{Name: "numbered"}), quick(j))
	c := mustConfigure(t, p)
	ctx := testContext(t)
	var said atomic.Int64
	kill := make(chan struct{}, kills)
	var all sync.WaitGroup
	for i := range talkers {
		all.Go(func() {
			k := newTalk(c)
			defer k.direction.Close()
			for j := range sayings {
				payloads := []string{fmt.Sprintf("talker %d", i), fmt.Sprintf("saying %d", j), strings.Repeat("x", j*13%4000)}
				if err := k.say(ctx, payloads...); err != nil {
					t.Errorf("talker %d, saying %d: %v", i, j, err)
					return
				}
				if n := said.Add(1); n%(between/2) == 0 && n/(between/2) <= kills {
					kill <- struct{}{}
				}
			}
		})
	}
	killed := make(chan int)
	go func() {
		n := 0
		for range kill {
			in, err := p.await(ctx)
			if err == nil && syscall.Kill(in.pid(), syscall.SIGKILL) == nil {
				<-in.doomed
				n++
			}
		}
		killed <- n
	}()
	all.Wait()
	close(kill)
	if n := <-killed; n < kills {
		t.Errorf("%d kills, want %d", n, kills)
	}
	if s := p.Status(); s.Restarts < kills-1 || s.LastError == nil || !strings.Contains(s.LastError.Error(), "killed") {
		t.Errorf("status %+v", s)
	}
}

func TestPoisonousCallEndsItselfAlone(t *testing.T) { onPlanes(t, poisonousCallEndsItselfAlone) }

func poisonousCallEndsItselfAlone(t *testing.T, plane DataPlane) {
	for _, poison := range []string{"!exit", "!panic-elsewhere"} {
		t.Run(poison, func(t *testing.T) {
			p := mustStart(t, by(plane, Spec{Name: "numbered"}), quick(newJournal()))
			c := mustConfigure(t, p)
			ctx := testContext(t)
			stop := make(chan struct{})
			var innocents sync.WaitGroup
			for range 4 {
				innocents.Go(func() {
					k := newTalk(c)
					for {
						if err := k.say(ctx, "innocent"); err != nil {
							t.Error(err)
						}
						select {
						case <-stop:
							return
						default:
						}
					}
				})
			}
			err := newTalk(c).say(ctx, poison)
			close(stop)
			innocents.Wait()
			want := "codec failed: the process died each of 2 times that it made this call alone"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if err := newTalk(c).say(ctx, "afterwards"); err != nil {
				t.Error(err)
			}
			if poison == "!panic-elsewhere" && !strings.Contains(p.Status().LastError.Error(), "panic: gone mad") {
				t.Errorf("the last error does not say why: %v", p.Status().LastError)
			}
		})
	}
}

func TestCallIsMadeAgainOnTheNextProcess(t *testing.T) { onPlanes(t, callIsMadeAgainOnTheNextProcess) }

func callIsMadeAgainOnTheNextProcess(t *testing.T, plane DataPlane) {
	p := mustStart(t, by(plane, program(t, "good")), quick(newJournal()))
	once := filepath.Join(t.TempDir(), "once")
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "before", "!exit-once "+once, "after"); err != nil {
		t.Error(err)
	}
	if s := p.Status(); s.Restarts != 1 || !strings.Contains(s.LastError.Error(), "exit status 3") {
		t.Errorf("status %+v", s)
	}
}

func TestHostileStandardError(t *testing.T) {
	j := newJournal()
	p := mustStart(t, program(t, "hostile-stderr"), quick(j))
	if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi", "!print by way of go-plugin"); err != nil {
		t.Error(err)
	}
	j.await(t, "by way of go-plugin")
	j.await(t, `\x00\xff\xfe\x1b[2J`)
	j.await(t, `from\x0a2000-01-01 [ERROR] forged`)
	for line := range strings.Lines(j.String()) {
		if strings.HasPrefix(line, "2000") || strings.ContainsAny(line, "\x00\x1b") || strings.Contains(line, "\xff") {
			t.Errorf("logged %q", line)
		}
	}
}

func TestFloodsOfOutput(t *testing.T) {
	t.Run("standard error", func(t *testing.T) {
		j := newJournal()
		p := mustStart(t, program(t, "floods-stderr"), quick(j))
		if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		j.await(t, "(104849408 bytes more)")
		j.await(t, "lines dropped")
		if n := len(j.String()); n > 1<<20 {
			t.Errorf("logged %d bytes", n)
		}
	})
	t.Run("standard output", func(t *testing.T) {
		j := newJournal()
		p := mustStart(t, program(t, "floods-stdout"), quick(j))
		j.await(t, "flood is over")
		if err := newTalk(mustConfigure(t, p)).say(testContext(t), "hi"); err != nil {
			t.Error(err)
		}
		if n := len(j.String()); n > 1<<20 {
			t.Errorf("logged %d bytes", n)
		}
	})
}

// holderSocket makes spec's plugin start a child that holds the plugin's output open. It returns a listener to which the child connects.
func holderSocket(t *testing.T, spec *Spec) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "holder")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	spec.Env = map[string]string{"HOLDER_SOCKET": l.Addr().String()}
	return l
}

func TestGrandchildEndsWithThePlugin(t *testing.T) {
	spec := program(t, "with-child")
	l := holderSocket(t, &spec)
	p := mustStart(t, spec, quick(newJournal()))
	holder, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := syscall.Kill(pid(t, p), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := holder.SetReadDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the connection to end with the process that held it", err)
	}
}

func TestGrandchildDoesNotHideThePluginsDeath(t *testing.T) {
	onPlanes(t, grandchildDoesNotHideThePluginsDeath)
}

func grandchildDoesNotHideThePluginsDeath(t *testing.T, plane DataPlane) {
	spec := by(plane, program(t, "with-detached-child"))
	l := holderSocket(t, &spec)
	p := mustStart(t, spec, quick(newJournal()))
	holder, err := l.Accept() // the child holds standard output and error until the test ends
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	k := newTalk(mustConfigure(t, p))
	first := pid(t, p)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := k.say(testContext(t), "hi"); err != nil {
		t.Error(err)
	}
	second, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if now := pid(t, p); now == first {
		t.Error("the process was not replaced")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	for _, c := range []net.Conn{holder, second} { // children end with the plugin, even in a session of their own
		_ = c.SetReadDeadline(time.Now().Add(bound))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want the connection to end with the process that held it", err)
		}
	}
}

package pluginproc

import (
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProcessThatHangsIsKilled(t *testing.T) { onPlanes(t, processThatHangsIsKilled) }

func processThatHangsIsKilled(t *testing.T, plane DataPlane) {
	j := newJournal()
	options := quick(j)
	options.CallTimeout = 100 * time.Millisecond
	p := mustStart(t, by(plane, Spec{Name: "numbered"}), options)
	k := newTalk(mustConfigure(t, p))
	if err := k.say(testContext(t), "before"); err != nil {
		t.Fatal(err)
	}
	stopped := pid(t, p)
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, stopped, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil { // it may run on for a while
		t.Fatal(err)
	}
	if err := k.say(testContext(t), "after"); err != nil {
		t.Fatal(err)
	}
	if now := pid(t, p); now == stopped {
		t.Errorf("process %d, which does not run, was not replaced", now)
	}
	j.await(t, "did not answer in time")
}

// A process stops while it runs a call, with others under way in it.
func TestProcessStopsInTheMiddleOfACall(t *testing.T) { onPlanes(t, processStopsInTheMiddleOfACall) }

func processStopsInTheMiddleOfACall(t *testing.T, plane DataPlane) {
	options := quick(newJournal())
	options.CallTimeout = 500 * time.Millisecond // long enough on a busy machine
	p := mustStart(t, by(plane, Spec{Name: "numbered"}), options)
	c := mustConfigure(t, p)
	ctx := testContext(t)
	done := make(chan struct{})
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for k, over := newTalk(c), false; !over; {
				if err := k.say(ctx, "another", strings.Repeat("x", 3000)); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					over = true
				default:
				}
			}
		})
	}
	first := pid(t, p)
	once := filepath.Join(t.TempDir(), "once")
	if err := newTalk(c).say(ctx, "before", "!stop-once "+once, "after"); err != nil {
		t.Error(err)
	}
	close(done)
	others.Wait()
	if s := p.Status(); s.PID == first || s.LastError == nil || !strings.Contains(s.LastError.Error(), "did not answer in time") {
		t.Errorf("status %+v", s)
	}
}

package pluginproc

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProcessThatHangsIsKilled(t *testing.T) {
	j := newJournal()
	options := quick(j)
	options.CallTimeout = 100 * time.Millisecond
	p := mustStart(t, Spec{Name: "numbered"}, options)
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

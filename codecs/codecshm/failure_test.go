//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// unanswered returns a plane whose calls are never answered, made without a process. It has no listeners, because a test with a
// bubble's clock could not see that they wait. The memory is where the process would write its answers.
func unanswered(t *testing.T, timeout time.Duration, failed func(error)) (*Plane, *[laneCount]laneState) {
	t.Helper()
	plane, _ := connect(t)
	files, err := plane.allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(append(files[:1:1], files[2:]...)) })
	state, err := mapMemory(files[1], stateSize, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(state) })
	plane.onFailure = failed
	for i := range plane.lanes {
		plane.lanes[i].timeout = timeout
	}
	return plane, stateOf(state)
}

// One overdue call is enough. Other calls, on its lane and on others, only end with it.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		plane, _ := unanswered(t, time.Minute, func(err error) { told = append(told, err) })
		begin := time.Now()
		var all sync.WaitGroup
		call := func(lane int, wire []byte, want error) {
			all.Go(func() {
				d := plane.Open(1, codeccall.Properties{MaxFrame: 1, MaxWire: 1}).(*direction)
				d.lane = &plane.lanes[lane]
				var out codeccall.Decoded
				err := d.Decode(context.Background(), &codeccall.Decode{Wire: wire}, &out)
				if !errors.Is(err, want) {
					t.Errorf("lane %d, %d bytes: got %v, want %v", lane, len(wire), err, want)
				}
				if len(told) != 1 {
					t.Errorf("a call has failed, and %d were told", len(told))
				}
			})
		}
		call(0, []byte("x"), codeccall.ErrOverdue)
		call(0, make([]byte, 2*quickCall), codeccall.ErrOverdue)
		call(1, []byte("x"), codeccall.ErrOverdue)
		synctest.Wait()
		time.Sleep(30 * time.Second) // of the bubble's time
		call(0, []byte("x"), codeccall.ErrGone)
		call(1, make([]byte, 2*quickCall), codeccall.ErrGone)
		synctest.Wait()
		all.Wait()
		if since := time.Since(begin); since != time.Minute {
			t.Errorf("it took %v, want a minute", since)
		}
		if len(told) != 1 || told[0] != codeccall.ErrOverdue {
			t.Errorf("told %v", told)
		}
		call(0, nil, codeccall.ErrGone)
		all.Wait()
	})
}

// Each call has the full time, however long other calls on its lane have been under way.
func TestNotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, state := unanswered(t, time.Minute, func(err error) {
			if err != errClosed {
				t.Errorf("the plane has failed: %v", err)
			}
		})
		l := &plane.lanes[0]
		var all sync.WaitGroup
		for range 20 {
			d := plane.Open(1, codeccall.Properties{MaxFrame: 1, MaxWire: 1}).(*direction)
			d.lane = l
			all.Go(func() {
				var out codeccall.Decoded
				if err := d.Decode(context.Background(), &codeccall.Decode{}, &out); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			time.Sleep(50 * time.Second)
			// Answers without a signal: checkOverdue finds that the calls are answered.
			for slot := range l.control.calls {
				state[0].answers[slot].attempt.Store(l.control.calls[slot].attempt)
			}
		}
		all.Wait()
	})
}

// When a process ends, its calls end, however long they may take, and so do later calls.
func TestProcessEnds(t *testing.T) {
	d := impersonateLane(t, 0, func(d *double, l *serverLane) {
		var files []int
		d.eachCall(l, func(slot uint32) {
			if l.taken.Load() < 3 { // two of the three calls are begun
				l.state.answers[slot].begun.Store(l.control.calls[slot].attempt)
				return
			}
			d.server.mu.Lock()
			files, d.server.files = d.server.files, nil
			d.server.mu.Unlock()
			closeAll(files)
			runtime.Goexit() // as the end of the process does
		})
	})
	var all sync.WaitGroup
	var notBegun atomic.Int32
	for range 3 {
		on := d.open(hundred)
		all.Go(func() {
			err := on.Decode(context.Background(), &codeccall.Decode{}, &codeccall.Decoded{})
			if !errors.Is(err, codeccall.ErrGone) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, codeccall.ErrNotBegun) {
				notBegun.Add(1)
			}
		})
	}
	all.Wait()
	if n := notBegun.Load(); n != 1 {
		t.Errorf("%d calls had not begun, want 1", n)
	}
	for lane := range d.lanes {
		on := d.open(hundred)
		on.lane = &d.lanes[lane]
		if err := on.Decode(t.Context(), &codeccall.Decode{}, &codeccall.Decoded{}); !errors.Is(err, codeccall.ErrGone) || !errors.Is(err, codeccall.ErrNotBegun) {
			t.Errorf("lane %d: got %v", lane, err)
		}
	}
}

// Closing a plane ends its calls; none hangs, and a process that is still busy with them ends its part later.
func TestCloseWithCallsUnderWay(t *testing.T) {
	e := start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	slow := lab{
		decode: func(_ *codecs.Payloads, in codecs.Wire) (int, error) {
			entered <- struct{}{}
			<-release
			return len(in.Bytes), nil
		},
		encode: func(*codecs.Frames, codecs.Batch) (int, error) {
			entered <- struct{}{}
			<-release
			return 0, nil
		},
	}
	results := make(chan error)
	const calls = 6
	for range calls / 2 {
		d := e.open(slow, 100)
		go func() {
			var out codeccall.Decoded
			results <- d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("x")}, &out)
		}()
		go func() {
			var out codeccall.Encoded
			results <- d.Encode(t.Context(), &codeccall.Encode{}, &out)
		}()
	}
	for range calls {
		<-entered
	}
	closed := make(chan struct{})
	go func() { e.Close(); close(closed) }()
	for range calls {
		if err := <-results; !errors.Is(err, codeccall.ErrGone) {
			t.Errorf("got %v", err)
		}
	}
	<-closed
	d := e.open(mixed{}, 100)
	if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("x")}, &codeccall.Decoded{}); !errors.Is(err, codeccall.ErrGone) {
		t.Errorf("a call of a closed plane: got %v", err)
	}
	if err := d.Encode(t.Context(), &codeccall.Encode{}, &codeccall.Encoded{}); !errors.Is(err, codeccall.ErrGone) {
		t.Errorf("a call of a closed plane: got %v", err)
	}
	if loan := e.Lend(1); loan != nil {
		t.Error("a closed plane lends memory")
	}
	if !errors.Is(e.cause, errClosed) {
		t.Errorf("told %v", e.cause)
	}
	close(release)
	if err := <-e.served; err != nil {
		t.Errorf("serve returned %v", err)
	}
	e.served <- nil
}

// A call with an ended context is not made.
func TestContext(t *testing.T) {
	e := start(t)
	d := e.open(mixed{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Decode(ctx, &codeccall.Decode{}, &codeccall.Decoded{}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if err := d.Encode(ctx, &codeccall.Encode{}, &codeccall.Encoded{}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	d.Close()
}

// Loans outlive their plane, both received bytes and the plugin's answers; afterwards no memory is left.
func TestLoansOutliveThePlane(t *testing.T) {
	before, open := mapped(t), descriptors(t)
	e := start(t)
	received, large := e.Lend(100), e.Lend(2*largestClass)
	copy(received.Bytes(), "received")
	large.Bytes()[len(large.Bytes())-1] = 7
	var out codeccall.Decoded
	in := &codeccall.Decode{Wire: []byte("^answer\n"), Room: 100, Borrow: true}
	if err := e.open(mixed{}, 100).Decode(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	e.close()
	if string(received.Bytes()[:8]) != "received" || string(out.Data) != "ANSWER" || large.Bytes()[len(large.Bytes())-1] != 7 {
		t.Errorf("got %q, %q", received.Bytes()[:8], out.Data)
	}
	if got := mapped(t) - before; got != 3 {
		t.Errorf("%d segments are mapped, want those of 3 loans", got)
	}
	received.End()
	if got := mapped(t) - before; got != 2 {
		t.Errorf("%d segments are mapped, want those of 2 loans", got)
	}
	out.Return()
	large.End()
	if got := mapped(t) - before; got != 0 {
		t.Errorf("%d segments are mapped, want none", got)
	}
	if got := descriptors(t); got != open {
		t.Errorf("%d descriptors are open, %d were", got, open)
	}
}

// A process that no longer reads its socket can't be given memory: the plane treats it as gone.
func TestSocketIsNotRead(t *testing.T) {
	e := start(t)
	e.server.socket.close()
	var err error
	d := e.open(mixed{}, 100)
	for class := 0; err == nil && class < 100; class++ {
		err = d.Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, largestClass<<min(class, 4))}, &codeccall.Decoded{})
	}
	if !errors.Is(err, codeccall.ErrGone) {
		t.Errorf("got %v", err)
	}
	if loan := e.Lend(64 << 20); loan != nil {
		t.Error("memory is lent that the process never sees")
	}
	if e.mu.Lock(); e.cause == nil || !strings.Contains(e.cause.Error(), "handing memory to the process") {
		t.Errorf("told %v", e.cause)
	}
	e.mu.Unlock()
}

// Planes leave nothing, whether begun or not, used or not.
func TestNothingIsLeft(t *testing.T) {
	round := func(use int) {
		plane, inherited, err := New()
		if err != nil {
			t.Fatal(err)
		}
		inherited.Close()
		if use == 0 {
			plane.Close()
			if err := plane.Begin(t.Context(), 0, nil); err == nil {
				t.Fatal("began after the end")
			}
			return
		}
		if err := plane.Begin(t.Context(), 0, nil); err == nil {
			t.Fatal("began without a process")
		}
		plane.Close()
		e := start(t)
		d := e.open(mixed{}, 100)
		for range use {
			if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("a\n")}, &codeccall.Decoded{}); err != nil {
				t.Fatal(err)
			}
		}
		e.close()
	}
	round(1)
	open, before := descriptors(t), mapped(t)
	for i := range 10 {
		round(i)
	}
	if got := descriptors(t); got != open {
		t.Errorf("%d descriptors are open, %d were", got, open)
	}
	if got := mapped(t); got != before {
		t.Errorf("%d segments are mapped, %d were", got, before)
	}
}

// Long calls do not each occupy a thread, however many there are.
func TestSlowCallsPinNoThreads(t *testing.T) {
	const calls, most = 100, 30
	e := start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	slow := lab{decode: func(_ *codecs.Payloads, in codecs.Wire) (int, error) {
		entered <- struct{}{}
		<-release
		return len(in.Bytes), nil
	}}
	threads := func() int {
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := threads()
	var all sync.WaitGroup
	for range calls {
		d := e.open(slow, 100)
		all.Go(func() {
			var out codeccall.Decoded
			if err := d.Decode(context.Background(), &codeccall.Decode{Wire: []byte("x")}, &out); err != nil {
				t.Error(err)
			}
		})
		<-entered
	}
	if got := threads(); got > before+most {
		t.Errorf("%d calls are under way in %d threads; before there were %d", calls, got, before)
	}
	close(release)
	all.Wait()
}

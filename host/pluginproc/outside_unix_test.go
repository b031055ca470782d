//go:build unix

package pluginproc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Again and again, a process is stopped as it comes up, gets all calls, and is killed. No call is blamed.
func TestKilledFromOutside(t *testing.T) { onPlanes(t, killedFromOutside) }

func killedFromOutside(t *testing.T, plane DataPlane) {
	const talkers, kills = 10, 14
	options := quick(newJournal())
	options.Spares = 1
	p := mustStart(t, by(plane, Spec{Name: "numbered"}), options)
	c := mustConfigure(t, p)
	ctx := testContext(t)
	killing, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	failed := make(chan error, talkers)
	for i := range talkers {
		all.Go(func() {
			for k := newTalk(c); ; {
				last := killing.Err() != nil
				if err := k.say(ctx, fmt.Sprintf("talker %d", i)); err != nil {
					failed <- err
					return
				}
				if last {
					return
				}
			}
		})
	}
	for range kills {
		in, err := p.await(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(in.pid(), syscall.SIGSTOP) // the process may have been killed just before
		until(t, func() bool {                      // all calls are on it, but those that are made apart
			return in.outstanding.Load() >= int64(talkers-len(failed)) || in.condemned() || suspectsNow(p) > 0
		})
		_ = syscall.Kill(in.pid(), syscall.SIGKILL)
		<-in.done()
	}
	enough()
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}

// suspectsNow returns how many calls of p are made apart or wait for that.
func suspectsNow(p *Plugin) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.suspects.waiting); n > 0 || !p.suspects.judging {
		return n
	}
	return 1
}

// until waits until ok returns true.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	limit := time.After(bound)
	for !ok() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("it has not come within %v", bound)
		}
	}
}

// BenchmarkRecovery kills the process of a plugin again and again during traffic, and measures how long each of ten talkers waits.
func BenchmarkRecovery(b *testing.B) {
	for _, plane := range []DataPlane{SHM, GRPC} {
		b.Run(string(plane), func(b *testing.B) { benchmarkRecovery(b, plane) })
	}
}

func benchmarkRecovery(b *testing.B, plane DataPlane) {
	const talkers = 10
	p, err := Start(context.Background(), by(plane, Spec{Name: "numbered"}), recovering())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := p.Configure(context.Background(), nil, 1<<16)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mu sync.Mutex
	var longest [talkers]time.Duration
	var said [talkers]int
	var all sync.WaitGroup
	for i := range talkers {
		all.Go(func() {
			for k := newTalk(c); ctx.Err() == nil; {
				began := time.Now()
				if err := k.say(context.Background(), "hello"); err != nil {
					b.Error(err)
					return
				}
				took := time.Since(began)
				mu.Lock()
				longest[i] = max(longest[i], took)
				said[i]++
				mu.Unlock()
			}
		})
	}
	var stalls []time.Duration
	for b.Loop() {
		until(b, func() bool { return ready(p) }) // so that each death is a single one, not part of a series
		mu.Lock()
		clear(longest[:])
		before := said
		mu.Unlock()
		in, err := p.await(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := syscall.Kill(in.pid(), syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		<-in.done()
		until(b, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range said {
				if said[i] < before[i]+3 {
					return false
				}
			}
			return true
		})
		mu.Lock()
		stalls = append(stalls, longest[:]...)
		mu.Unlock()
	}
	stop()
	all.Wait()
	slices.Sort(stalls)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(stalls[len(stalls)/2]), "p50-ms")
	b.ReportMetric(ms(stalls[len(stalls)*99/100]), "p99-ms")
	b.ReportMetric(ms(stalls[len(stalls)-1]), "max-ms")
}

func recovering() Options { return Options{CallTimeout: bound, Spares: 1} }

// ready reports whether p has a process and a spare.
func ready(p *Plugin) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current != nil && len(p.spares) == p.options.Spares
}

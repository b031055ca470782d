package loglimit

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Limiter
		lines := func(asked int) (written, leftOut int) {
			for range asked {
				if left, ok := s.allow(); ok {
					written++
					leftOut += left
				}
			}
			return written, leftOut
		}
		for _, step := range []struct {
			pause                   time.Duration
			asked, written, leftOut int
		}{
			{0, Burst + 5, Burst, 0},
			{Pause / 2, 3, 0, 0},
			{Pause / 2, 2, 1, 5 + 3},
			{3 * Pause, 4, 3, 1},
			{time.Hour, 2 * Burst, Burst, 1},
		} {
			<-time.After(step.pause)
			if written, leftOut := lines(step.asked); written != step.written || leftOut != step.leftOut {
				t.Fatalf("after %v more: %d asked, got %d written and %d held back, want %d and %d",
					step.pause, step.asked, written, leftOut, step.written, step.leftOut)
			}
		}
	})
}

// The number of lines held back is logged after a pause, unless another line has logged it before.
func TestLimiterSaysWhatItHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Limiter
		var logged, more atomic.Int64 // atomic, because a timer writes lines too
		write := func(_ string, fields ...any) {
			logged.Add(1)
			for i, field := range fields {
				if field == "more_since_the_last_line" {
					more.Add(int64(fields[i+1].(int)))
				}
			}
		}
		burst := func(n int) {
			for range n {
				s.Log(write, "refused")
			}
		}
		expect := func(when string, lines, about int64) {
			t.Helper()
			synctest.Wait()
			if logged.Load() != lines || more.Load() != about {
				t.Fatalf("%s: got %d lines about %d more, want %d about %d", when, logged.Load(), more.Load(), lines, about)
			}
		}
		burst(Burst + 5)
		expect("at once", Burst, 0)
		<-time.After(Pause + 1)
		expect("after a pause", Burst+1, 5)
		burst(3)
		s.Flush()
		expect("at the end", Burst+2, 8)
		<-time.After(time.Hour)
		expect("much later", Burst+2, 8)
	})
}

package host

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSometimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sometimes
		lines := func(asked int) (written, leftOut int) {
			for range asked {
				if left, ok := s.now(); ok {
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
			{0, linesAtOnce + 5, linesAtOnce, 0},
			{linesPause / 2, 3, 0, 0},
			{linesPause / 2, 2, 1, 5 + 3},
			{3 * linesPause, 4, 3, 1},
			{time.Hour, 2 * linesAtOnce, linesAtOnce, 1},
		} {
			<-time.After(step.pause)
			if written, leftOut := lines(step.asked); written != step.written || leftOut != step.leftOut {
				t.Fatalf("after %v more: %d asked, got %d written and %d told as left out, want %d and %d",
					step.pause, step.asked, written, leftOut, step.written, step.leftOut)
			}
		}
	})
}

// What was held back is logged after a pause, if no other line has it before.
func TestSometimesSaysWhatItHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sometimes
		lines, about := 0, 0
		write := func(_ string, fields ...any) {
			lines++
			for i, field := range fields {
				if field == "more_since_the_last_line" {
					about += fields[i+1].(int)
				}
			}
		}
		burst := func(n int) {
			for range n {
				s.log(write, "refused")
			}
		}
		burst(linesAtOnce + 5)
		if lines != linesAtOnce || about != 0 {
			t.Fatalf("at once: got %d lines, %d more; want %d and none", lines, about, linesAtOnce)
		}
		<-time.After(linesPause + 1)
		if lines != linesAtOnce+1 || about != 5 {
			t.Fatalf("after a pause: got %d lines, %d more; want %d and 5", lines, about, linesAtOnce+1)
		}
		burst(3)
		s.flush()
		if lines != linesAtOnce+2 || about != 8 {
			t.Fatalf("at the end: got %d lines, %d more; want %d and 8", lines, about, linesAtOnce+2)
		}
		<-time.After(time.Hour)
		if lines != linesAtOnce+2 {
			t.Fatalf("got %d lines in the end, want %d", lines, linesAtOnce+2)
		}
	})
}

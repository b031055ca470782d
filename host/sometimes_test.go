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

package endpoint

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const (
	shortestWait = 100 * time.Millisecond
	longestWait  = 30 * time.Second
)

// attempts provides a Dial that records the time of each call and fails the first calls with fail.
type attempts struct {
	times []time.Time
	fail  error
	until int // how many calls fail
}

func (a *attempts) dial(context.Context) (*Conn, error) {
	a.times = append(a.times, time.Now())
	if len(a.times) <= a.until {
		return nil, a.fail
	}
	return &Conn{}, nil
}

func TestRedialerWaitsLongerAndLonger(t *testing.T) {
	for range 50 { // the waits are drawn at random
		synctest.Test(t, func(t *testing.T) {
			a := &attempts{fail: errors.New("refused"), until: 20}
			var waits []time.Duration
			r := &Redialer{Dial: a.dial, Min: shortestWait, Max: longestWait, Failed: func(err error, wait time.Duration) {
				if err != a.fail {
					t.Errorf("got %v, want %v", err, a.fail)
				}
				waits = append(waits, wait)
			}}
			start := time.Now()
			if c, err := r.Next(t.Context()); c == nil || err != nil {
				t.Fatalf("got %v, %v, want a connection", c, err)
			}
			if len(waits) != a.until || !a.times[0].Equal(start) {
				t.Fatalf("got %d waits, the first attempt after %v, want %d, at once", len(waits), a.times[0].Sub(start), a.until)
			}
			interval := 2 * shortestWait // the middle of the first wait's range
			for i, wait := range waits {
				if got := a.times[i+1].Sub(a.times[i]); got != wait {
					t.Errorf("got a wait of %v, %v announced", got, wait)
				}
				if low, high := interval/2, interval+interval/2; wait < max(low, shortestWait) || wait > min(high, longestWait)+1 {
					t.Errorf("wait %d: got %v, want %v to %v", i, wait, low, high)
				}
				interval = min(2*interval, 2*longestWait/3)
			}
		})
	}
}

func TestRedialerAfterAConnection(t *testing.T) {
	tests := []struct {
		name        string
		lasted      time.Duration
		least, most time.Duration // bounds of the wait before the next attempt
	}{
		{"it did not last: the waits go on growing", time.Second, 3200 * time.Millisecond, 9600 * time.Millisecond},
		{"it lasted: the waits begin anew", longestWait, shortestWait, 3 * shortestWait},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &attempts{fail: errors.New("refused"), until: 5}
				r := &Redialer{Dial: a.dial, Min: shortestWait, Max: longestWait}
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				<-time.After(test.lasted) // on the clock of the synctest bubble
				ended := time.Now()
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := a.times[6].Sub(ended); got < test.least || got > test.most {
					t.Errorf("got a wait of %v, want %v to %v", got, test.least, test.most)
				}
			})
		})
	}
}

func TestRedialerBoundsThatAreClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{fail: errors.New("refused"), until: 100}
		r := &Redialer{Dial: a.dial, Min: time.Second, Max: time.Second, Failed: func(_ error, wait time.Duration) {
			if wait != time.Second {
				t.Errorf("got %v, want a second", wait)
			}
		}}
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRedialerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drained := errors.New("drained")
		a := &attempts{fail: errors.New("refused"), until: 1000}
		ctx, cancel := context.WithCancelCause(t.Context())
		r := &Redialer{Dial: a.dial, Min: shortestWait, Max: longestWait}
		time.AfterFunc(time.Minute, func() { cancel(drained) })
		start := time.Now()
		if _, err := r.Next(ctx); err != drained || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v, want %v at once", err, time.Since(start), drained)
		}
		before := len(a.times)
		if _, err := r.Next(ctx); err != drained || len(a.times) != before {
			t.Errorf("got %v and %d attempts, want %v and none", err, len(a.times)-before, drained)
		}
	})
}

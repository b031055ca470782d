package endpoint

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// A Redialer makes a connection again and again, for routes that have no downstream to tell that it failed. It waits
// between attempts: from Min, doubling up to Max, each wait drawn at random so that many relays whose upstream was
// away don't all come back at the same moment. One goroutine may use it.
type Redialer struct {
	// Dial makes one connection, with Dial of this package for instance.
	Dial func(ctx context.Context) (*Conn, error)
	// Min and Max bound each wait between attempts. Neither is 0, and Max is not below Min.
	Min, Max time.Duration
	// Failed, unless nil, is told each error of Dial and the wait that follows.
	Failed func(err error, wait time.Duration)

	backoff *backoff.ExponentialBackOff
	made    time.Time // when the last connection was made; zero before the first
}

// Next returns the next connection. The first attempt is made at once. Later ones wait, also the first one after a
// connection that ended: a connection that lasted for less than Max counts as a failure, so that an upstream that
// accepts and hangs up is not hammered, and one that lasted longer starts the waits from Min again. The only error is
// ctx's cause, once ctx is done.
func (r *Redialer) Next(ctx context.Context) (*Conn, error) {
	if r.backoff == nil {
		r.backoff = r.newBackoff()
	} else {
		if !r.made.IsZero() && time.Since(r.made) >= r.Max {
			r.backoff.Reset()
		}
		if err := r.pause(ctx, r.wait()); err != nil {
			return nil, err
		}
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c, err := r.Dial(ctx)
		if err == nil {
			r.made = time.Now()
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		wait := r.wait()
		if r.Failed != nil {
			r.Failed(err, wait)
		}
		if err := r.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// newBackoff returns a backoff whose waits, each within half of its interval, begin at Min and end at Max.
func (r *Redialer) newBackoff() *backoff.ExponentialBackOff {
	const spread = 0.5
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = time.Duration(float64(r.Min) / (1 - spread))
	b.MaxInterval = time.Duration(float64(r.Max) / (1 + spread))
	b.RandomizationFactor = spread
	b.Multiplier = 2
	b.Reset()
	return b
}

// wait returns how long to wait now. Where Max is less than three times Min, the range of one interval exceeds both.
func (r *Redialer) wait() time.Duration {
	return min(max(r.backoff.NextBackOff(), r.Min), r.Max)
}

func (r *Redialer) pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

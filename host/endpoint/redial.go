package endpoint

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// A Redialer makes a connection again and again, for routes that have no downstream to which a failure could be reported.
// It waits between attempts. The waits begin at Min and double up to Max. Each is drawn at random, so that many relays
// that lost the same upstream don't reconnect all at the same moment. A Redialer is not safe for concurrent use.
type Redialer struct {
	// Dial makes one connection, for example with Dial of this package.
	Dial func(ctx context.Context) (*Conn, error)
	// Min and Max bound each wait between attempts. Both must be above 0, and Max must not be below Min.
	Min, Max time.Duration
	// Failed, unless nil, is called with each error of Dial and the wait that follows.
	Failed func(err error, wait time.Duration)

	backoff *backoff.ExponentialBackOff
	made    time.Time // when the last connection was made; zero before the first
}

// Next returns the next connection. The very first attempt is made at once; each later attempt waits, including the first
// attempt after a connection that ended. A connection that lasted for less than Max counts as a failure, so that the waits
// grow also for an upstream that accepts and hangs up. After one that lasted longer, the waits start from Min again. The
// only error is ctx's cause, once ctx is done.
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

// newBackoff returns a backoff that draws each wait from its interval plus or minus a half. The first interval is chosen
// so that its shortest wait is Min, the last so that its longest wait is Max.
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

// wait returns how long to wait now. The clamp matters if Max is less than three times Min: then the waits drawn from one
// interval may lie below Min or above Max.
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

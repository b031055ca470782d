package relay

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/framehost/framehost/codecs/codeccall"
)

// The limit for the skipped violations of one sender, in points: garbagePoints a second, and as many at once after a quiet time. A
// violation that is skipped within a call costs one point, which is about 2 µs of processor time. A violation that ends its call
// costs callPoints, since the next violation needs another call. So the violations of one sender take at most a few hundredths of
// a processor. They are read at no more than 10,000 a second, or 500 a second if the plugin does not skip within calls.
const (
	garbagePoints = 10_000
	callPoints    = 20
)

// lostEvery is the interval at which a pausing reader checks the sender's connection. After a reset, it does not read the bytes
// that arrived before.
const lostEvery = 100 * time.Millisecond

// garbage meters the cost of a sender's violations. The zero value is ready for use. After the first charge, garbage is safe for
// concurrent use.
type garbage struct{ limiter *rate.Limiter }

func newGarbage() garbage { return garbage{rate.NewLimiter(garbagePoints, garbagePoints)} }

// pointsOf returns the cost, in points, of the violations in a result.
func pointsOf(out *codeccall.Decoded) int {
	points := len(out.SkippedFaults)
	if out.Fault != nil {
		points += callPoints
	}
	return points
}

// charge charges points, and returns how long the reader has to pause.
func (g *garbage) charge(points int) time.Duration {
	if g.limiter == nil {
		*g = newGarbage() // allocated here, since few senders need it
	}
	return g.limiter.ReserveN(time.Now(), points).Delay()
}

// spent reports whether there are no points left.
func (g *garbage) spent() bool { return g.limiter != nil && g.limiter.Tokens() < 1 }

// rest charges r.points, and pauses as long as charge requires or until the owner is over. If the sender has reset its connection,
// rest ends the owner and returns an error.
func (r *streamDecoder) rest() error {
	if r.points == 0 {
		return nil
	}
	wait := r.garbage.charge(r.points)
	for r.points = 0; wait > 0 && !r.owner.over(); wait -= lostEvery {
		pause(r.ctx, min(wait, lostEvery))
		if err := r.owner.senderLost(); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A lostReporter is a Link that can detect a broken connection without reading the bytes that arrived before. Lost returns the error that
// Read would return after those bytes; nil if there is none or if it is unknown.
type lostReporter interface{ Lost() error }

package relay

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/framehost/framehost/codecs/codeccall"
)

// The cost, in points, that skipped violations of one sender may have: garbagePoints a second, and as many at once after a quiet
// time. A violation that is skipped within a call costs one point, which is about 2 µs of processor time; a violation that ends
// its call costs callPoints, since the next one needs a call of its own. So the garbage of a sender takes at most some hundredths
// of a processor, and is read at no more than 10,000 violations a second, or 500 if the plugin does not skip within calls.
const (
	garbagePoints = 10_000
	callPoints    = 20
)

// lostEvery is the interval at which the connection of a sender whose garbage waits is checked. After a reset the garbage that
// waits is not read at all.
const lostEvery = 100 * time.Millisecond

// garbage meters the cost of a sender's violations. Its zero value is ready for use; after the first charge it is safe for
// concurrent use.
type garbage struct{ limiter *rate.Limiter }

func newGarbage() garbage { return garbage{rate.NewLimiter(garbagePoints, garbagePoints)} }

// pointsOf returns the cost of the violations in a result.
func pointsOf(out *codeccall.Decoded) int {
	points := len(out.SkippedFaults)
	if out.Fault != nil {
		points += callPoints
	}
	return points
}

// charge charges points, and returns for how long reading has to pause.
func (g *garbage) charge(points int) time.Duration {
	if g.limiter == nil {
		*g = newGarbage() // few senders need it
	}
	return g.limiter.ReserveN(time.Now(), points).Delay()
}

// spent reports whether there are no points left.
func (g *garbage) spent() bool { return g.limiter != nil && g.limiter.Tokens() < 1 }

// rest charges points and pauses as long as charge says, or until the owner is over. It returns an error if the sender has reset
// its connection, which ends the owner.
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

// A loser is a Link that can detect a broken connection without reading the bytes that arrived before. Lost returns the error
// that Read would return after those bytes; nil if there is none or it is not known.
type loser interface{ Lost() error }

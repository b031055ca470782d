package relay

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/framehost/framehost/codecs/codeccall"
)

// What the violations of one sender may cost, where they are skipped: so many points a second, and as many at once after a
// quiet time. A violation that is skipped within a call costs about 2 µs of processor time and a point; one that ends its call
// costs callPoints, as the next one has to be a call of its own. So garbage costs at most some hundredths of a processor, and is
// read as slowly as that: 10,000 violations a second, or 500 where the plugin does not skip within calls.
const (
	garbagePoints = 10_000
	callPoints    = 20
)

// lostEvery is how often a sender whose garbage is not read for the moment is looked at: what it sent before it reset its
// connection is not read at all.
const lostEvery = 100 * time.Millisecond

// garbage meters what the violations of a sender cost. Its zero value is ready; it is safe for concurrent use once it has been
// charged.
type garbage struct{ limiter *rate.Limiter }

func newGarbage() garbage { return garbage{rate.NewLimiter(garbagePoints, garbagePoints)} }

// pointsOf returns what the violations in a result cost.
func pointsOf(out *codeccall.Decoded) int {
	points := len(out.SkippedFaults)
	if out.Fault != nil {
		points += callPoints
	}
	return points
}

// charge charges points, and returns how long nothing is to be read then.
func (g *garbage) charge(points int) time.Duration {
	if g.limiter == nil {
		*g = newGarbage() // few senders need it
	}
	return g.limiter.ReserveN(time.Now(), points).Delay()
}

// spent reports whether there are no points left.
func (g *garbage) spent() bool { return g.limiter != nil && g.limiter.Tokens() < 1 }

// rest waits for as long as the violations that were skipped have cost too much, or until the owner is over. An error means that
// it is: the sender has reset its connection.
func (r *reception) rest(points int) error {
	if points == 0 {
		return nil
	}
	for wait := r.garbage.charge(points); wait > 0 && !r.owner.over(); wait -= lostEvery {
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

// A loser is a Link that can say whether its connection is broken without reading what arrived before. Lost returns the
// error that Read would return in the end, nil for none or where it is not known.
type loser interface{ Lost() error }

func lost(l Link) error {
	if l, ok := l.(loser); ok {
		return l.Lost()
	}
	return nil
}

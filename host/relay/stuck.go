package relay

import (
	"errors"
	"fmt"
	"time"
)

// pause is the time between two calls of checkStuck.
func (b *budget) pause() time.Duration { return max(b.patience/50, time.Millisecond) }

// checkStuck ends accounts that are stuck while others wait. A timer calls it repeatedly while any account waits.
func (b *budget) checkStuck() {
	b.mu.Lock()
	now := time.Now()
	b.checkedAt = now
	b.serve()
	over := b.stuck(now)
	if b.watching = len(b.waiters) > 0; b.watching {
		b.watch.Reset(b.pause())
	}
	b.mu.Unlock()
	for _, a := range over {
		a.end(errStuck(b.patience))
	}
}

var errMemory = errors.New("relay: memory is short (limits.memory)")

func errStuck(patience time.Duration) error {
	return fmt.Errorf("%w, and this direction held most without progress for %v", errMemory, patience)
}

// mostAtOnce is the largest number of accounts that one call of checkStuck ends.
const mostAtOnce = 64

// stuck returns the accounts to end so that waiters can go on. The caller holds b.mu.
func (b *budget) stuck(now time.Time) (over []*memoryAccount) {
	if len(b.waiters) == 0 {
		return nil
	}
	large := b.nowLarge()
	coming := int64(0) // bytes of accounts that were ended and have not released them yet
	for _, a := range large {
		a.sample(now, b.patience)
		if !a.ending.IsZero() && now.Sub(a.ending) < b.patience {
			coming += a.reserved.Load()
		}
	}
	if b.mayEnd = 0; now.Sub(b.endedWaiting) >= b.patience/5 {
		b.mayEnd = max(1, len(b.waiters)/8)
	}
	needed := int64(0)
	for i := 0; i < len(b.waiters) && len(over) < mostAtOnce; {
		w := b.waiters[i]
		if b.used.Load()-coming+needed+w.need <= b.size {
			needed += w.need
			i++
			continue
		}
		a := b.largestStuck(w, large, now)
		if a == nil {
			break
		}
		if a.end != nil {
			a.ending = now
			coming += a.reserved.Load()
			over = append(over, a)
		}
		if a.waits > 0 {
			b.endedWaiting = now
			b.mayEnd--
			b.endWaits(a, now)
			i, needed = 0, 0
		}
	}
	return over
}

// nowLarge returns the accounts that have more than their allowance. It calls reconsider for accounts that have come down to their
// allowance since the last call. The caller holds b.mu.
func (b *budget) nowLarge() (large []*memoryAccount) {
	for a := range b.large {
		isLarge := a.reserved.Load() > allowance
		if fell := a.fell.Swap(false); fell || !isLarge {
			a.reconsider()
		}
		if isLarge {
			large = append(large, a)
		}
	}
	return large
}

// endWaits ends the waits of a with an error: all of them if a can be ended, and otherwise those that have waited for the patience,
// since the others may belong to other senders of a hub. The caller holds b.mu.
func (b *budget) endWaits(a *memoryAccount, now time.Time) {
	for i := len(b.waiters) - 1; i >= 0; i-- {
		if w := b.waiters[i]; w.account == a && (a.end != nil || now.Sub(w.since) >= b.patience) {
			b.remove(i).done <- errStuck(b.patience)
		}
	}
}

// largestStuck returns the account to end so that w can go on, or nil if no account may be ended yet. The caller holds b.mu.
func (b *budget) largestStuck(w *waiter, large []*memoryAccount, now time.Time) (largest *memoryAccount) {
	consider := func(a *memoryAccount) {
		if a.ending.IsZero() && (largest == nil || a.reserved.Load() > largest.reserved.Load()) {
			largest = a
		}
	}
	for _, a := range large {
		eligible := a.reserved.Load() >= w.account.reserved.Load() ||
			a.route != w.account.route && a.route.held.Load() > b.size/2 ||
			a.peer != nil && a.peer != w.account.peer && a.peer.held.Load() > b.size/2
		if eligible && a.waits == 0 && a.isStuck(now, b.patience) {
			consider(a)
		}
	}
	// Waiting accounts can't make progress. End a few of them at a time, so that others can go on with the memory that this frees.
	if largest == nil && b.mayEnd > 0 {
		for _, w := range b.waiters {
			if now.Sub(w.since) >= b.patience {
				consider(w.account)
			}
		}
	}
	return largest
}

// sample notes how many bytes a has moved. From two samples, between one and two times patience apart, it decides whether a is slow.
func (a *memoryAccount) sample(now time.Time, patience time.Duration) {
	if a.progress == nil {
		return
	}
	_, moved := a.progress()
	switch {
	case a.sampled.IsZero():
	case now.Sub(a.sampled) < patience:
		return
	case now.Sub(a.sampled) < 2*patience:
		a.slow = moved-a.moved < step
	default:
		a.slow = false // memory was not short in between
	}
	a.sampled, a.moved = now, moved
}

// isStuck reports whether a has made no progress, or too little, for as long as patience.
func (a *memoryAccount) isStuck(now time.Time, patience time.Duration) bool {
	if a.progress == nil || a.end == nil {
		return false
	}
	last, _ := a.progress()
	return a.slow || now.Sub(last) >= patience
}

// reconsider forgets what was noted about a while memory was short. The caller holds the budget's mu.
func (a *memoryAccount) reconsider() {
	a.ending, a.sampled, a.slow = time.Time{}, time.Time{}, false
}

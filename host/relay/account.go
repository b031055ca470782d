package relay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A memoryAccount counts the bytes that one direction holds. Both goroutines of the direction may use it at the same time.
type memoryAccount struct {
	budget   *budget
	route    *sharers
	address  string
	peer     *sharers                  // nil: no address is known
	progress func() (time.Time, int64) // when the last byte was read or written, and the number of bytes so far; nil: unknown
	end      func(error)               // ends the direction, and does nothing once it has ended; nil: there is nothing to end

	// The account holds reserved - free bytes. This changes without a lock as long as free stays at least 0.
	reserved atomic.Int64 // charged to the budget
	free     atomic.Int64 // reserved bytes that are not held; negative while more bytes are being reserved
	paid     atomic.Int64 // bytes that stay reserved until the account is closed
	listed   atomic.Bool  // the account is in budget.large
	fell     atomic.Bool  // reserved has come down to the allowance since the last call of stuck
	mu       sync.Mutex   // guards changes of reserved together with free

	// The budget's mu guards the fields below.
	ending  time.Time // when end was called; zero: not yet
	sampled time.Time // when moved was read; zero: not yet since memory became short
	moved   int64     // the bytes read and written at the last sample
	slow    bool      // the account moved less than a step from one sample to the next
	closed  bool
	waits   int
}

// open returns an account for one direction of a peer, and charges paid bytes until the account is closed. It never waits.
func (m *Memory) open(peer string, paid int64) *memoryAccount {
	if m == nil {
		return nil
	}
	a := &memoryAccount{budget: m.budget, route: m.route, address: peer}
	a.paid.Store(paid)
	if peer != "" {
		a.budget.mu.Lock()
		a.peer = a.budget.peers[peer]
		if a.peer == nil {
			a.peer = &sharers{}
			a.budget.peers[peer] = a.peer
		}
		a.peer.users++
		a.budget.mu.Unlock()
	}
	a.reserve(paid)
	a.free.Add(paid)
	return a
}

// close releases the bytes that open charged. The caller has released all other bytes before.
func (a *memoryAccount) close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.paid.Store(0)
	a.shrink()
	a.mu.Unlock()
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	if a.peer != nil {
		if a.peer.users--; a.peer.users == 0 {
			delete(a.budget.peers, a.address)
		}
	}
}

// try charges n bytes and returns true, if it can do so without waiting and without overtaking waiters.
func (a *memoryAccount) try(n int64) bool {
	if a == nil || n == 0 || a.hold(n) {
		return true
	}
	_, ok := a.extend(n)
	return ok
}

// must charges n bytes that are already in use, even beyond the limit.
func (a *memoryAccount) must(n int64) {
	if a == nil || n == 0 || a.hold(n) {
		return
	}
	if need, ok := a.extend(n); !ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.reserve(need)
		a.free.Add(need - n)
		a.shrink() // bytes may have been released meanwhile
	}
}

// hold charges n bytes and returns true, if the reserved bytes cover them.
func (a *memoryAccount) hold(n int64) bool {
	for {
		free := a.free.Load()
		if free < n {
			return false
		}
		if a.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

// extend charges n bytes, and reserves as many more steps as they need. If the budget can't provide these at once, extend charges
// nothing and returns false, with the bytes to reserve.
func (a *memoryAccount) extend(n int64) (need int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	free := a.free.Add(-n) // no other goroutine can hold the rest from now on
	if free >= 0 {
		return 0, true
	}
	need = (-free + step - 1) / step * step
	switch {
	case a.reserved.Load()+need <= allowance:
		a.reserve(need)
	case !a.budget.fits(a, need):
		a.free.Add(n)
		a.shrink()
		return need, false
	}
	a.free.Add(need)
	return need, true
}

// acquire charges n bytes, and if necessary waits for them until ctx ends. It returns an error if ctx ends, if n exceeds the limit,
// or if the budget ends the account to free memory.
func (a *memoryAccount) acquire(ctx context.Context, n int64) error { return a.waitFor(ctx, n, false) }

// acquireToFinish is like acquire, for a frame that has arrived whole: the account will hold less soon after it gets the memory.
func (a *memoryAccount) acquireToFinish(ctx context.Context, n int64) error {
	return a.waitFor(ctx, n, true)
}

func (a *memoryAccount) waitFor(ctx context.Context, n int64, finishes bool) error {
	if a == nil || n == 0 {
		return nil
	}
	if n > a.budget.size {
		return fmt.Errorf("relay: memory: want %d bytes, more than the limit of %d", n, a.budget.size)
	}
	if a.hold(n) {
		return nil
	}
	need, ok := a.extend(n)
	if ok {
		return nil
	}
	w := &waiter{account: a, need: need, finishes: finishes, done: make(chan error, 1)}
	a.budget.wait(w)
	var err error
	select {
	case err = <-w.done:
	case <-ctx.Done():
		if a.budget.leave(w) {
			return fmt.Errorf("relay: memory: %w", context.Cause(ctx))
		}
		err = <-w.done
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free.Add(need - n)
	a.shrink() // the other goroutine of the account may have released bytes meanwhile
	return nil
}

// give releases n bytes.
func (a *memoryAccount) give(n int64) {
	if a == nil || n == 0 {
		return
	}
	free := a.free.Add(n)
	if reserved := a.reserved.Load(); free < step && (free != reserved || reserved == a.paid.Load()) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shrink()
}

// shrink returns unused steps to the budget. The caller holds a.mu.
func (a *memoryAccount) shrink() {
	for {
		free, reserved := a.free.Load(), a.reserved.Load()
		excess := min(free/step*step, reserved-a.paid.Load())
		if free == reserved {
			excess = reserved - a.paid.Load()
		}
		if excess <= 0 {
			return
		}
		if a.free.CompareAndSwap(free, free-excess) {
			a.budget.giveBack(a, excess)
		}
	}
}

// reserve charges n bytes to the budget, even beyond the limit.
func (a *memoryAccount) reserve(n int64) {
	a.budget.used.Add(n)
	a.budget.charge(a, n)
	a.budget.list(a)
}

// short reports whether memory is short, so that reads should be small.
func (a *memoryAccount) short() bool {
	return a != nil && (a.budget.queued.Load() > 0 || a.budget.used.Load() >= a.budget.size)
}

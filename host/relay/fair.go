package relay

import (
	"cmp"
	"slices"
	"time"
)

// A waiter is an account that waits for memory.
type waiter struct {
	account  *memoryAccount
	need     int64
	since    time.Time
	sequence uint64
	finishes bool       // the memory is for a frame that has arrived whole
	weight   int64      // the bytes that the account would hold; waiters are ordered by it
	done     chan error // gets one value: nil if the memory was charged, else an error
}

// wait adds w to the waiters.
func (b *budget) wait(w *waiter) {
	b.mu.Lock()
	w.since = time.Now()
	b.sequence++
	w.sequence = b.sequence
	b.waiters = append(b.waiters, w)
	b.queued.Add(1)
	w.account.waits++
	w.account.route.waiting++
	if w.account.peer != nil {
		w.account.peer.waiting++
	}
	b.serve()
	waits := len(b.waiters) > 0
	if waits && !b.watching {
		b.watching = true
		b.watch.Reset(b.pause())
	}
	overdue := waits && time.Since(b.checkedAt) >= b.pause()
	b.mu.Unlock()
	if overdue {
		b.checkStuck()
	}
}

// leave removes w from the waiters, and reports whether it was among them.
func (b *budget) leave(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiters, w)
	if i < 0 {
		return false
	}
	b.remove(i)
	b.serve()
	return true
}

func (b *budget) remove(i int) *waiter {
	w := b.waiters[i]
	b.waiters = slices.Delete(b.waiters, i, i+1)
	b.queued.Add(-1)
	w.account.waits--
	w.account.route.waiting--
	if w.account.peer != nil {
		w.account.peer.waiting--
	}
	return w
}

// order sorts the waiters by the bytes that their accounts would hold, the least first. The caller holds b.mu.
func (b *budget) order() {
	for _, w := range b.waiters {
		w.weight = w.account.reserved.Load() + w.need
		if w.finishes {
			w.weight /= 4 // its frame soon frees its memory; an unfinished frame keeps its memory until it gets more
		}
	}
	slices.SortFunc(b.waiters, func(x, y *waiter) int {
		return cmp.Or(cmp.Compare(x.weight, y.weight), cmp.Compare(x.sequence, y.sequence))
	})
}

// serve charges free memory to waiters. When a waiter needs more than is free, the waiters after it are served first, for half of
// the patience, so that frames that are nearly finished can free their memory. After that time, the waiters after it wait until it
// is served. The caller holds b.mu.
func (b *budget) serve() {
	b.order()
	for i := b.first(0); i < len(b.waiters); {
		w := b.waiters[i]
		if !b.use(w.need) {
			if time.Since(w.since) >= b.patience/2 {
				return
			}
			i = b.first(i + 1)
			continue
		}
		b.remove(i)
		b.charge(w.account, w.need)
		b.enlist(w.account)
		w.done <- nil
		i = b.first(0) // the next to serve depends on which accounts wait
	}
}

// first returns the index of the first waiter, from index i on, that may get memory. A waiter may get memory if its route would then
// hold at most half of the sum of the free memory and the memory of all routes that wait, and if the same holds for its peer
// address. If no waiter from i on may get memory, first returns 0, the waiter that would hold the least, for an i of 0, and
// len(b.waiters) for others.
func (b *budget) first(i int) int {
	b.visits++
	routes, peers := b.size-b.used.Load(), b.size-b.used.Load()
	for _, w := range b.waiters {
		routes += w.account.route.visit(b.visits)
		peers += w.account.peer.visit(b.visits)
	}
	all := len(b.waiters)
	for j := i; j < all; j++ {
		w := b.waiters[j]
		if w.account.route.fits(w.need, routes/2, all) && w.account.peer.fits(w.need, peers/2, all) {
			return j
		}
	}
	if i == 0 {
		return 0
	}
	return all
}

// visit returns the bytes that g holds at the first call with each visit number, and 0 at further calls, so that a sum counts g
// once.
func (g *sharers) visit(visit uint64) int64 {
	if g == nil || g.visited == visit {
		return 0
	}
	g.visited = visit
	return g.held.Load()
}

// fits reports whether g would hold at most most bytes with need bytes more, or whether all waiting accounts belong to g.
func (g *sharers) fits(need, most int64, waiting int) bool {
	return g == nil || g.waiting == waiting || g.held.Load()+need <= most
}

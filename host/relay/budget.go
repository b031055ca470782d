package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Memory limits the bytes that all buffers may hold together (limits.memory), as seen by one route. It is safe for concurrent
// use. A nil *Memory has no limit.
//
// Each direction of a session has an account. Each member of a hub has an account for the bytes that the hub receives from it.
// Accounts are charged in steps of 64 KiB, by these rules:
//
//   - An account never waits for its first 64 KiB: they are charged even beyond the limit.
//   - For more, an account waits while its request does not fit into the limit. Free memory goes first to the account that will
//     then hold the least.
//   - While accounts of several routes wait, no route gets more than half of the sum of the free memory and the memory that these
//     routes hold. The same rule applies to peer addresses.
//   - While accounts wait, the accounts that have made no progress for the patience (5 s in a host) end, the largest first, until
//     the first waiting account can go on. Progress means at least one byte read or written in that time and, while memory stays
//     short, at least 64 KiB, so an account can't keep memory by moving a few bytes. An account that holds less than the waiting
//     account does not end, unless its route or its peer address holds more than half of the memory.
//   - If the last rule ends no account, accounts that have themselves waited for the patience end, the largest first: an eighth of
//     the waiting accounts, but at least one, in each fifth of the patience (1 s in a host).
//
// So each account that holds memory which others need either makes progress or ends. Directions that each hold part of a frame and
// wait for memory for the rest can't block each other forever.
type Memory struct {
	budget *budget
	route  *sharers
}

// step is the unit, in bytes, in which memory is charged.
const step = 64 << 10

// allowance is how many bytes an account may hold without waiting for them.
const allowance = step + directionMemory

// NewMemory returns a Memory of size bytes; a size of 0 means no limit. While accounts wait, accounts that make no progress for
// patience may end.
func NewMemory(size int64, patience time.Duration) *Memory {
	if size == 0 {
		return nil
	}
	b := &budget{size: size, patience: patience, large: map[*memoryAccount]struct{}{}, peers: map[string]*sharers{}}
	b.watch = time.AfterFunc(time.Hour, b.checkStuck)
	b.watch.Stop()
	return &Memory{budget: b, route: &sharers{}}
}

// Route returns the same memory, as seen by a new route.
func (m *Memory) Route() *Memory {
	if m == nil {
		return nil
	}
	return &Memory{budget: m.budget, route: &sharers{}}
}

// Used returns how many bytes are charged at present. It may exceed the limit, by the first 64 KiB of each account and by bytes that
// were charged when they were already in use.
func (m *Memory) Used() int64 {
	if m == nil {
		return 0
	}
	return m.budget.used.Load()
}

// Charge charges n bytes that are already in use, even beyond the limit. The caller calls release when they are no longer in use;
// further calls of release do nothing.
func (m *Memory) Charge(n int64) (release func()) {
	if m == nil {
		return func() {}
	}
	m.budget.add(m.route, n)
	m.budget.add(nil, n)
	return sync.OnceFunc(func() {
		m.budget.add(m.route, -n)
		m.budget.add(nil, -n)
		m.budget.released()
	})
}

// A budget is the memory that all routes share. While no account waits, charging and releasing memory does not lock it.
type budget struct {
	size     int64
	patience time.Duration
	used     atomic.Int64
	flooded  atomic.Int32 // number of directions whose sender floods
	queued   atomic.Int32 // len(waiters)

	mu           sync.Mutex
	large        map[*memoryAccount]struct{} // accounts that have exceeded their allowance since they last held nothing
	peers        map[string]*sharers
	waiters      []*waiter // in the order in which they are served
	sequence     uint64
	visits       uint64
	watch        *time.Timer
	watching     bool
	checkedAt    time.Time // the last call of checkStuck
	endedWaiting time.Time // when a waiting account was last ended
	mayEnd       int       // how many waiting accounts may be ended now
}

// sharers is the set of accounts of a route or of a peer address, with the bytes that they hold together.
type sharers struct {
	held    atomic.Int64
	waiting int    // number of accounts that wait; the budget's mu guards this and the fields below
	users   int    // number of accounts of a peer address
	visited uint64 // the number of the last visit
}

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

// add charges n bytes, which may be negative, to g, or to the budget's total if g is nil.
func (b *budget) add(g *sharers, n int64) {
	if g == nil {
		b.used.Add(n)
	} else {
		g.held.Add(n)
	}
}

// fits charges need bytes to a and returns true, if they are free and no account waits.
func (b *budget) fits(a *memoryAccount, need int64) bool {
	if b.queued.Load() > 0 || !b.use(need) {
		return false
	}
	b.charge(a, need)
	b.list(a)
	return true
}

// use charges n bytes to the budget's total and returns true, if they are free.
func (b *budget) use(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.size {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// charge charges n bytes, which the budget's total includes already, to a, its route and its peer address. The caller then calls
// list or enlist.
func (b *budget) charge(a *memoryAccount, n int64) {
	a.reserved.Add(n)
	a.route.held.Add(n)
	if a.peer != nil {
		a.peer.held.Add(n)
	}
}

// giveBack reduces a's reserved bytes by n.
func (b *budget) giveBack(a *memoryAccount, n int64) {
	left := a.reserved.Add(-n)
	if left <= allowance && left+n > allowance {
		a.fell.Store(true)
	}
	a.route.held.Add(-n)
	if a.peer != nil {
		a.peer.held.Add(-n)
	}
	b.used.Add(-n)
	if left == 0 && a.listed.Load() {
		b.mu.Lock()
		b.unlist(a)
		b.mu.Unlock()
	}
	b.released()
}

// list adds a to the large accounts if it has more than its allowance. There it stays until it has nothing reserved, since most
// accounts that were large will soon be large again.
func (b *budget) list(a *memoryAccount) {
	if a.reserved.Load() > allowance && !a.listed.Load() {
		b.mu.Lock()
		b.enlist(a)
		b.mu.Unlock()
	}
}

// enlist is like list. The caller holds b.mu.
func (b *budget) enlist(a *memoryAccount) {
	if a.reserved.Load() <= allowance || a.listed.Load() {
		return
	}
	b.large[a] = struct{}{}
	a.listed.Store(true)
	b.unlist(a) // a may have released everything just now
}

// unlist removes a from the large accounts if it has nothing reserved. The caller holds b.mu.
func (b *budget) unlist(a *memoryAccount) {
	if a.reserved.Load() == 0 {
		delete(b.large, a)
		a.listed.Store(false)
		a.reconsider()
	}
}

// reconsider forgets what was noted about a while memory was short. The caller holds the budget's mu.
func (a *memoryAccount) reconsider() {
	a.ending, a.sampled, a.slow = time.Time{}, time.Time{}, false
}

// short reports whether memory is short, so that reads should be small.
func (a *memoryAccount) short() bool {
	return a != nil && (a.budget.queued.Load() > 0 || a.budget.used.Load() >= a.budget.size)
}

// released serves waiters after memory was released.
func (b *budget) released() {
	if b.queued.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve()
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

// pause is the time between two calls of checkStuck.
func (b *budget) pause() time.Duration { return max(b.patience/50, time.Millisecond) }

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
			b.endWaits(a)
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

// endWaits ends all waits of a with an error. The caller holds b.mu.
func (b *budget) endWaits(a *memoryAccount) {
	for i := len(b.waiters) - 1; i >= 0; i-- {
		if b.waiters[i].account == a {
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

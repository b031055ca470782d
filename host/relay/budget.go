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

// Memory is the memory that limits.memory allows all buffers together, as seen by one route. It is safe for concurrent use. nil
// is no limit.
//
// Each direction of a session has an account; each member of a hub has one for the bytes it receives. Accounts are charged in
// steps of 64 KiB. The rules:
//
//   - The first 64 KiB of an account never wait: they are charged even beyond the limit.
//   - Beyond these, an account waits for memory while its request does not fit into the limit. Memory that becomes free goes
//     first to the account that will hold the least.
//   - While accounts of several routes wait, no route gets more than half of what is free and what these routes hold. The same
//     holds for peer addresses.
//   - While accounts wait, those that have made no progress for as long as the patience (5 s in a host) end, the largest first,
//     until the first waiting account can go on. Progress is a byte read or written, and in the long run 64 KiB in that time, so
//     that a trickle of bytes does not keep memory. An account that holds less than the waiting one does not end, unless
//     its route or peer address holds more than half of the memory. If these rules end no account, then of the accounts that
//     have themselves waited that long, the largest end, an eighth of them each second.
//
// So each account that holds memory others need either makes progress or ends: directions that each hold a part of a frame and
// wait for the rest can't block each other for good.
type Memory struct {
	budget *budget
	route  *sharers
}

// step is the unit, in bytes, in which memory is charged.
const step = 64 << 10

// allowance is how many bytes an account may hold without ever waiting.
const allowance = step + directionMemory

// NewMemory returns a Memory of size bytes. While accounts wait, those that make no progress for patience may end. A size of 0 is
// no limit.
func NewMemory(size int64, patience time.Duration) *Memory {
	if size == 0 {
		return nil
	}
	b := &budget{size: size, patience: patience, large: map[*memoryAccount]struct{}{}, peers: map[string]*sharers{}}
	b.watch = time.AfterFunc(time.Hour, b.look)
	b.watch.Stop()
	return &Memory{budget: b, route: &sharers{}}
}

// Route returns the same memory as another route sees it.
func (m *Memory) Route() *Memory {
	if m == nil {
		return nil
	}
	return &Memory{budget: m.budget, route: &sharers{}}
}

// Used returns how many bytes are charged at present. The first 64 KiB of each direction may go beyond the limit.
func (m *Memory) Used() int64 {
	if m == nil {
		return 0
	}
	return m.budget.used.Load()
}

// Charge charges n bytes that are in use already, even beyond the limit, until release is called.
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

// A budget is the memory that all routes share. While no account waits, memory is charged and given back without its lock.
type budget struct {
	size     int64
	patience time.Duration
	used     atomic.Int64
	flooded  atomic.Int32 // number of directions whose sender floods
	queued   atomic.Int32 // len(waiters)

	mu           sync.Mutex
	large        map[*memoryAccount]struct{} // those that have, or had since they held nothing, more than their allowance
	peers        map[string]*sharers
	waiters      []*waiter // in the order in which they are served
	sequence     uint64
	visits       uint64
	watch        *time.Timer
	watching     bool
	looked       time.Time // the last call of look
	endedWaiting time.Time // when a waiting account was last ended
	mayEnd       int       // how many waiting accounts may be ended now
}

// sharers are the accounts of a route or of a peer address, with the bytes that they hold together.
type sharers struct {
	held    atomic.Int64
	waiting int    // number of accounts that wait; the budget's mu guards this and the fields below
	users   int    // number of accounts of a peer address
	visited uint64 // the last visit
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
	progress func() (time.Time, int64) // when the last byte was read or written, and how many were so far; nil: not known
	end      func(error)               // ends the direction; nil: there is nothing to end

	// What is held is reserved - free. It changes without a lock as long as what is reserved covers it.
	reserved atomic.Int64 // charged to the budget
	free     atomic.Int64 // of that, not held; negative while more is on its way
	paid     atomic.Int64 // stays reserved until the account is closed
	listed   atomic.Bool  // in the budget's list of the large
	fell     atomic.Bool  // reserved came down to the allowance since the last look at the stuck
	mu       sync.Mutex   // for changes of reserved that free goes along with

	// The budget's mu guards these.
	ending  time.Time // when end was called; zero: it was not
	sampled time.Time // when moved was read; zero: not yet since memory ran short
	moved   int64
	slow    bool // it moved less than a step from one sample to the next
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

// close gives back the bytes paid by open. Everything else must have been given back before.
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

// try charges n bytes if that is possible without waiting and without overtaking waiters.
func (a *memoryAccount) try(n int64) bool {
	if a == nil || n == 0 || a.hold(n) {
		return true
	}
	_, ok := a.extend(n)
	return ok
}

// must charges n bytes that exist already, even beyond the limit.
func (a *memoryAccount) must(n int64) {
	if a == nil || n == 0 || a.hold(n) {
		return
	}
	if need, ok := a.extend(n); !ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.reserve(need)
		a.free.Add(need - n)
		a.shrink() // something may have been given back meanwhile
	}
}

// hold charges n bytes if what is reserved covers them.
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

// extend charges n bytes, and reserves what they need. It is false, and nothing is charged, where the need can't be charged to
// the budget at once.
func (a *memoryAccount) extend(n int64) (need int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	free := a.free.Add(-n) // no one else can hold what this leaves
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

// acquire charges n bytes, and if necessary waits for them until ctx ends. It fails if the account is ended to free memory.
func (a *memoryAccount) acquire(ctx context.Context, n int64) error { return a.waitFor(ctx, n, false) }

// acquireToFinish is acquire for a frame that has arrived whole: once it has the memory, the account will soon hold less.
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
	a.shrink() // the other goroutine of the account may have given bytes back meanwhile
	return nil
}

// give gives n bytes back.
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

// shrink gives unused steps back. The caller holds the account's mu.
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

// reserve charges n bytes to the budget, whatever the limit.
func (a *memoryAccount) reserve(n int64) {
	a.budget.used.Add(n)
	a.budget.charge(a, n)
	a.budget.list(a)
}

// add charges n bytes, which may be negative, to g; to the budget's total if g is nil.
func (b *budget) add(g *sharers, n int64) {
	if g == nil {
		b.used.Add(n)
	} else {
		g.held.Add(n)
	}
}

// fits charges need bytes to a if they are free and nothing waits.
func (b *budget) fits(a *memoryAccount, need int64) bool {
	if b.queued.Load() > 0 || !b.use(need) {
		return false
	}
	b.charge(a, need)
	b.list(a)
	return true
}

// use charges n bytes to the whole if they are free.
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

// charge charges n bytes, for which the whole is charged already, to a and to its groups. The caller lists a.
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

// list puts a in the list of the large if it is one. There it stays until nothing is reserved, since most that were large
// will soon be so again.
func (b *budget) list(a *memoryAccount) {
	if a.reserved.Load() > allowance && !a.listed.Load() {
		b.mu.Lock()
		b.enlist(a)
		b.mu.Unlock()
	}
}

// enlist is list for where the lock is held.
func (b *budget) enlist(a *memoryAccount) {
	if a.reserved.Load() <= allowance || a.listed.Load() {
		return
	}
	b.large[a] = struct{}{}
	a.listed.Store(true)
	b.unlist(a) // what it had may have been given back just now
}

// unlist removes a from the list of the large if nothing is reserved. The lock is held.
func (b *budget) unlist(a *memoryAccount) {
	if a.reserved.Load() == 0 {
		delete(b.large, a)
		a.listed.Store(false)
		a.reconsider()
	}
}

// reconsider ends what was noted of a while memory was short. The budget's lock is held.
func (a *memoryAccount) reconsider() {
	a.ending, a.sampled, a.slow = time.Time{}, time.Time{}, false
}

// short reports whether memory is short. Reads are small then.
func (a *memoryAccount) short() bool {
	return a != nil && (a.budget.queued.Load() > 0 || a.budget.used.Load() >= a.budget.size)
}

// released serves waiters after memory was given back.
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
	look := waits && time.Since(b.looked) >= b.pause()
	b.mu.Unlock()
	if look {
		b.look()
	}
}

// pause is the time between two calls of look.
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

// order sorts the waiters by the bytes that they would hold, the least first. The caller holds b.mu.
func (b *budget) order() {
	for _, w := range b.waiters {
		w.weight = w.account.reserved.Load() + w.need
		if w.finishes {
			w.weight /= 4 // its frame soon frees its memory; unfinished frames keep theirs until they get more
		}
	}
	slices.SortFunc(b.waiters, func(x, y *waiter) int {
		return cmp.Or(cmp.Compare(x.weight, y.weight), cmp.Compare(x.sequence, y.sequence))
	})
}

// serve charges free memory to waiters. A waiter that needs more than is free lets others pass for half of the patience, so that
// frames that are nearly finished free their memory; after that, waiters that would hold more are not served before it. The
// caller holds b.mu.
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

// first returns the index, from i on, of the first waiter that may have more memory: one whose route, and whose peer address, would
// then hold at most half of the sum of free memory and the memory of all routes (peer addresses) that wait. If there is no such
// waiter at all, it returns 0, the one that would hold the least.
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

// visit returns the bytes that g holds at its first call for each visit, and then 0, so that a sum counts g once.
func (g *sharers) visit(visit uint64) int64 {
	if g == nil || g.visited == visit {
		return 0
	}
	g.visited = visit
	return g.held.Load()
}

// fits reports whether g, with need bytes more, would hold at most most bytes, or has all waiting accounts.
func (g *sharers) fits(need, most int64, waiting int) bool {
	return g == nil || g.waiting == waiting || g.held.Load()+need <= most
}

// look ends accounts that are stuck while others wait. A timer calls it again as long as any account waits.
func (b *budget) look() {
	b.mu.Lock()
	now := time.Now()
	b.looked = now
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

// mostAtOnce is the greatest number of accounts that one call of look ends.
const mostAtOnce = 64

// stuck returns the accounts to end so that waiters can go on. The caller holds b.mu.
func (b *budget) stuck(now time.Time) (over []*memoryAccount) {
	if len(b.waiters) == 0 {
		return nil
	}
	large := b.nowLarge()
	coming := int64(0) // memory of accounts that were ended and have not given it back yet
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

// nowLarge returns the accounts that have more than their allowance. What was noted of an account ends where it has come down
// to that in between. The lock is held.
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

// endWaits ends a's waits with an error.
func (b *budget) endWaits(a *memoryAccount) {
	for i := len(b.waiters) - 1; i >= 0; i-- {
		if b.waiters[i].account == a {
			b.remove(i).done <- errStuck(b.patience)
		}
	}
}

// largestStuck returns the account to end so that w can go on, or nil if there is none yet.
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
	// Waiting accounts can't make progress. They end a few at a time, so that others can go on with the memory that this
	// frees.
	if largest == nil && b.mayEnd > 0 {
		for _, w := range b.waiters {
			if now.Sub(w.since) >= b.patience {
				consider(w.account)
			}
		}
	}
	return largest
}

// sample notes how many bytes a has moved, and from two such notes whether it is slow while memory is short.
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

package relay

import (
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

// released serves waiters after memory was released.
func (b *budget) released() {
	if b.queued.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve()
}

package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A party is an account of a test, with its progress.
type party struct {
	*memoryAccount
	ended chan error

	lock  sync.Mutex
	last  time.Time
	moved int64
}

func (m *Memory) party(peer string) *party {
	p := &party{memoryAccount: m.open(peer, directionMemory), last: time.Now(), ended: make(chan error, 1)}
	p.progress = func() (time.Time, int64) {
		p.lock.Lock()
		defer p.lock.Unlock()
		return p.last, p.moved
	}
	p.end = func(err error) {
		select {
		case p.ended <- err:
		default: // it is ended already
		}
	}
	return p
}

// move notes that n bytes were moved now.
func (p *party) move(n int64) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.last, p.moved = time.Now(), p.moved+n
}

func (p *party) isEnded() bool { return len(p.ended) > 0 }

// taking acquires n bytes in the background, and returns the channel of the result.
func (p *party) taking(t *testing.T, n int64) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.acquire(t.Context(), n) }()
	synctest.Wait()
	return done
}

func fill(t *testing.T, p *party, n int64) {
	t.Helper()
	if !p.try(n) {
		t.Fatalf("no %d bytes are free", n)
	}
}

// The bytes that an account holds are charged in steps, the first 64 KiB even beyond the limit, and are released again.
func TestAccountIsChargedInSteps(t *testing.T) {
	m := NewMemory(10*step, time.Second)
	a := m.open("peer", directionMemory)
	want := func(n int64) {
		t.Helper()
		if used := m.Used(); used != n {
			t.Errorf("%d bytes are charged, want %d", used, n)
		}
	}
	want(directionMemory)
	for range 3 {
		a.try(directionMemory / 3)
	}
	want(directionMemory)
	a.try(1)
	want(directionMemory + step)
	a.try(step)
	want(directionMemory + 2*step)
	a.give(step)
	a.give(1)
	want(directionMemory)
	if a.try(10 * step) {
		t.Error("more is charged than there is")
	}
	if !a.try(9 * step) {
		t.Error("what is free is not charged")
	}
	others := make([]*memoryAccount, 100)
	for i := range others {
		others[i] = m.open("", directionMemory)
		if !others[i].try(step) || others[i].try(directionMemory+1) {
			t.Error("an account gets its first 64 KiB, and no more, while memory is short")
		}
	}
	for _, other := range others {
		other.give(step)
		other.close()
	}
	a.give(directionMemory / 3 * 3)
	a.give(9 * step)
	a.close()
	want(0)
	if len(m.budget.large) > 0 || len(m.budget.peers) > 0 || m.route.held.Load() != 0 {
		t.Errorf("%d accounts, %d peers and %d bytes are left", len(m.budget.large), len(m.budget.peers), m.route.held.Load())
	}
}

// Of the accounts that wait, the one that will hold the least goes on first.
func TestLeastGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(40*step, time.Minute)
		holder, large, small := m.party("a"), m.party("b"), m.party("c")
		fill(t, large, 10*step)
		fill(t, small, 2*step)
		fill(t, holder, 27*step)
		first, second := large.taking(t, 4*step), small.taking(t, 4*step)
		holder.give(4 * step)
		synctest.Wait()
		if len(first) != 0 || len(second) != 1 {
			t.Fatalf("large: %d, small: %d; want the small one to go on", len(first), len(second))
		}
		holder.give(4 * step)
		synctest.Wait()
		if len(first) != 1 || holder.isEnded() || large.isEnded() || small.isEnded() {
			t.Error("the large one does not go on, or somebody has ended")
		}
	})
}

// Accounts without progress end, the largest first, until the waiting account can go on. Accounts that make progress, and accounts
// that hold less than the waiting one, stay.
func TestStuckEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(100*step, 5*time.Second)
		var idle []*party
		for n := range int64(8) {
			p := m.party("")
			fill(t, p, (n+4)*step)
			idle = append(idle, p)
		}
		moving, little, innocent := m.party(""), m.party(""), m.party("")
		fill(t, moving, 30*step)
		fill(t, little, 2*step)
		time.Sleep(5 * time.Second)
		moving.move(1 << 30)
		done := innocent.taking(t, 12*step)
		for i, p := range idle {
			if p.isEnded() != (i == 7) {
				t.Errorf("party %d of 8: ended %v; want the largest alone to have ended", i, p.isEnded())
			}
		}
		if len(done) > 0 || moving.isEnded() || little.isEnded() || innocent.isEnded() {
			t.Fatal("somebody else has ended, or more is charged than there is")
		}
		idle[7].give(11 * step)
		synctest.Wait()
		if len(done) != 1 || <-done != nil {
			t.Error("the one that waits does not go on")
		}
	})
}

// Accounts that each hold a part of a frame and need more don't block each other forever.
func TestDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const parties = 8
		m := NewMemory(parties*10*step, 5*time.Second)
		began := time.Now()
		var through, ended int
		var lock sync.Mutex
		var all sync.WaitGroup
		for i := range parties {
			p := m.party("")
			all.Go(func() {
				defer p.close()
				held := int64(0)
				defer func() { p.give(held) }()
				for held < 20*step {
					n := int64(1+i%2) * step / 2
					if err := p.acquire(context.Background(), n); err != nil {
						lock.Lock()
						ended++
						lock.Unlock()
						return
					}
					held += n
					p.move(n)
					time.Sleep(time.Millisecond)
				}
				lock.Lock()
				through++
				lock.Unlock()
			})
		}
		all.Wait()
		if through+ended != parties || ended == 0 || ended > parties/2 {
			t.Errorf("%d went through and %d ended, want at most half to have ended", through, ended)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		if used := m.Used(); used != 0 {
			t.Errorf("%d bytes are still charged", used)
		}
	})
}

// An account that moves a few bytes keeps memory no longer than an account that moves none.
func TestTricklersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(64*step, 5*time.Second)
		var trickling []*party
		for range 4 {
			p := m.party("")
			fill(t, p, 15*step)
			trickling = append(trickling, p)
		}
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					for _, p := range trickling {
						p.move(100)
					}
				}
			}
		}()
		defer close(stop)
		innocent := m.party("")
		done := innocent.taking(t, 10*step)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		count := 0
		for _, p := range trickling {
			if p.isEnded() {
				count++
				p.give(15 * step)
			}
		}
		synctest.Wait()
		if count != 1 || len(done) != 1 || innocent.isEnded() {
			t.Errorf("%d of 4 have ended, and %d of 1 went on", count, len(done))
		}
	})
}

// While others wait, no route and no peer address gets more than half of what the others leave free.
func TestHalfForOthers(t *testing.T) {
	for _, kind := range []string{"routes", "peers"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(100*step, time.Minute)
				one, other := m.Route(), m.Route()
				addresses := [2]string{"", ""}
				if kind == "peers" {
					one, other = m, m
					addresses = [2]string{"10.0.0.1", "10.0.0.2"}
				}
				var many []*party
				for range 9 {
					p := one.party(addresses[0])
					fill(t, p, 10*step)
					many = append(many, p)
				}
				few := other.party(addresses[1])
				fill(t, few, 8*step)
				waitsMore := one.party(addresses[0])
				more, fewDone := waitsMore.taking(t, 3*step), few.taking(t, 12*step)
				many[0].give(10 * step)
				synctest.Wait()
				if len(more) > 0 || len(fewDone) > 0 {
					t.Error("those that hold more than half get more, or there is more than the limit")
				}
				many[1].give(10 * step)
				synctest.Wait()
				if len(fewDone) != 1 {
					t.Error("the one of few does not get its part")
				}
				if len(more) != 1 {
					t.Error("nobody else waits any more, and what is free is not charged")
				}
				many[2].give(10 * step)
				fill(t, few, 15*step)
				more, fewDone = waitsMore.taking(t, 9*step), few.taking(t, 9*step)
				many[3].give(10 * step)
				synctest.Wait()
				if len(more) > 0 || len(fewDone) != 1 {
					t.Errorf("the one of many got its part: %d, the one of few: %d; want 0 and 1", len(more), len(fewDone))
				}
				few.give(44 * step)
				synctest.Wait()
				if len(more) != 1 {
					t.Error("nobody else waits, and what is free is not charged")
				}
			})
		})
	}
}

// If a route holds more than half of the memory, a stuck account of it ends for a larger account of another route.
func TestHalfIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(100*step, 5*time.Second)
		one, other := m.Route(), m.Route()
		var many []*party
		for range 18 {
			p := one.party("")
			fill(t, p, 4*step)
			many = append(many, p)
		}
		large := other.party("")
		fill(t, large, 20*step)
		time.Sleep(5 * time.Second)
		large.move(0)
		done := large.taking(t, 12*step)
		count := 0
		for _, p := range many {
			if p.isEnded() {
				count++
				p.give(4 * step)
			}
		}
		synctest.Wait()
		if count == 0 || count > 3 || len(done) != 1 || large.isEnded() {
			t.Errorf("%d of 18 have ended, and %d of 1 went on; want as many to have ended as it takes", count, len(done))
		}
	})
}

func TestTakeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10*step, time.Hour)
		holder, waiter := m.party(""), m.open("", 0)
		fill(t, holder, 9*step)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- waiter.acquire(ctx, 5*step) }()
		synctest.Wait()
		cancel(Drained)
		if err := <-done; !errors.Is(err, Drained) || m.budget.queued.Load() != 0 {
			t.Errorf("got %v, and %d wait; want the cause", err, m.budget.queued.Load())
		}
		if err := waiter.acquire(t.Context(), 11*step); err == nil {
			t.Error("more is charged than the limit")
		}
		go func() { done <- waiter.acquire(t.Context(), 5*step) }() // an account without an end function: only its wait can be ended
		time.Sleep(2 * time.Hour)
		if err := <-done; !errors.Is(err, errMemory) {
			t.Errorf("got %v, want that memory is short", err)
		}
	})
}

// Whatever many accounts do: the charge is the sum of what they hold, rounded up; the charge exceeds the limit only by what accounts
// may hold without waiting; each waiting account gets memory or ends; and all memory is released in the end.
func TestAccounting(t *testing.T) {
	seed := rand.Uint64()
	for run := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { testAccounting(t, seed+run) })
		if t.Failed() {
			t.Fatalf("seed %#x", seed+run)
		}
	}
}

func testAccounting(t *testing.T, seed uint64) {
	const parties = 24
	size := int64(parties * (1 + seed%8) * step)
	m := NewMemory(size, 5*time.Second)
	routes := []*Memory{m, m.Route(), m.Route()}
	var all sync.WaitGroup
	for i := range parties {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		p := routes[r.IntN(3)].party([]string{"", "a", "b"}[r.IntN(3)])
		all.Go(func() {
			defer p.close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var held []int64
			for range 200 {
				n := int64(r.IntN(1 << (8 + r.IntN(13))))
				switch r.IntN(6) {
				case 0:
					if p.try(n) {
						held = append(held, n)
					}
				case 1, 2:
					one, stop := context.WithTimeout(ctx, time.Duration(1+r.IntN(20))*time.Second)
					err := p.acquire(one, n)
					stop()
					if err == nil {
						held = append(held, n)
					}
				case 3:
					time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
					p.move(n)
				default:
					if len(held) > 0 {
						last := len(held) - 1
						p.give(held[last])
						held = held[:last]
					}
				}
				if p.isEnded() {
					break
				}
				if used := m.Used(); used > size+parties*allowance || used < 0 {
					t.Errorf("%d bytes are charged of %d", used, size)
				}
				p.mu.Lock()
				if reserved, free := p.reserved.Load(), p.free.Load(); free < 0 || free > step+directionMemory {
					t.Errorf("%d bytes are reserved for %d", reserved, reserved-free)
				}
				p.mu.Unlock()
			}
			for _, n := range held {
				p.give(n)
			}
		})
	}
	all.Wait()
	b := m.budget
	if b.used.Load() != 0 || len(b.waiters) != 0 || b.queued.Load() != 0 || len(b.large) != 0 || len(b.peers) != 0 {
		t.Errorf("%d bytes, %d waiters, %d large accounts and %d peers are left", b.used.Load(), len(b.waiters), len(b.large), len(b.peers))
	}
	for _, route := range routes {
		if route.route.held.Load() != 0 || route.route.waiting != 0 {
			t.Errorf("%d bytes and %d waiters of a route are left", route.route.held.Load(), route.route.waiting)
		}
	}
}

package relay

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/framehost/framehost/codecs/codeccall"
)

// Sizes of buffers, in bytes, all powers of two. What is decoded and encoded from a buffer costs about three times its
// size again at most, hence the factor; larger ones are charged with all that one frame can need.
const (
	smallPark = 1 << 10   // an unfinished frame's beginning; paid for when the session starts
	smallRead = 2 << 10   // what is read into when no other buffer can be had; likewise
	largePark = 16 << 10  // beginnings up to half of this are moved out of bigger buffers before waiting
	baseRead  = 64 << 10  // the usual read
	floodRead = 256 << 10 // the largest while the peer floods
	lentRead  = 2 << 20   // the same into memory that is lent: a call copies none of it, so the fewer calls the better

	perByte = 4 // charge for each byte of a buffer: itself, a built payload, and twice that for the new wire
)

// sessionMemory is what a session pays when it starts, for each of its two directions.
const sessionMemory = 2 * (smallPark + perByte*smallRead)

// Memory is a budget for the buffers of any number of sessions. nil is no limit.
type Memory struct {
	free     *semaphore.Weighted
	size     int64
	patience time.Duration
	used     atomic.Int64
	flooded  atomic.Int32 // directions whose sender floods
}

// NewMemory returns a budget of size bytes. Who needs more than is free waits for it as long as patience. A size of 0
// is no limit.
func NewMemory(size int64, patience time.Duration) *Memory {
	if size == 0 {
		return nil
	}
	return &Memory{free: semaphore.NewWeighted(size), size: size, patience: patience}
}

// Used returns how many bytes are charged at present.
func (m *Memory) Used() int64 {
	if m == nil {
		return 0
	}
	return m.used.Load()
}

// lentShare is what all reads into lent memory that floods fill are to take together, in bytes: more of it only makes
// each byte leave the processors' caches before it has been through the codecs.
const lentShare = 8 << 20

// share returns how long a read into lent memory may be where so many flood, of which the caller is one.
func (m *Memory) share() int {
	if m == nil {
		return lentRead
	}
	share := lentShare / int(max(m.flooded.Load(), 1))
	return min(max(1<<(bits.Len(uint(share))-1), floodRead), lentRead)
}

// try charges n bytes if they are free and nobody waits for them.
func (m *Memory) try(n int64) bool {
	if m == nil {
		return true
	}
	if !m.free.TryAcquire(n) {
		return false
	}
	m.used.Add(n)
	return true
}

// take charges n bytes and waits for them if it must.
func (m *Memory) take(ctx context.Context, n int64) error {
	if m.try(n) {
		return nil
	}
	if n > m.size {
		return fmt.Errorf("relay: memory: want %d bytes, more than the limit of %d", n, m.size)
	}
	waiting, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	if err := m.free.Acquire(waiting, n); err != nil {
		return fmt.Errorf("relay: memory: want %d bytes, not free within %v (limit %d): %w", n, m.patience, m.size, err)
	}
	m.used.Add(n)
	return nil
}

func (m *Memory) give(n int64) {
	if m == nil || n == 0 {
		return
	}
	m.used.Add(-n)
	m.free.Release(n)
}

// A buffer is memory with what was charged for it.
type buffer struct {
	b      []byte
	charge int64
	loan   codeccall.Loan // what b lies in; nil: b is from the heap
}

// pools has a pool of *buffer for each power of two up to floodRead. Bigger ones are left to the garbage collector.
var pools [19]sync.Pool

// newBuffer returns a buffer of size bytes that charge was paid for.
func newBuffer(size int, charge int64) *buffer {
	if class, ok := classOf(size); ok {
		if b, ok := pools[class].Get().(*buffer); ok {
			b.charge = charge
			return b
		}
	}
	return &buffer{b: make([]byte, size), charge: charge}
}

// lentBuffers are those without memory of their own.
var lentBuffers = sync.Pool{New: func() any { return new(buffer) }}

// lentBuffer returns a buffer of size bytes in memory of lender's, or nil if it has none.
func lentBuffer(lender codeccall.Lender, size int, charge int64) *buffer {
	loan := lender.Lend(size)
	if loan == nil {
		return nil
	}
	b := lentBuffers.Get().(*buffer)
	b.b, b.charge, b.loan = loan.Bytes()[:size:size], charge, loan
	return b
}

// free gives b and its charge back.
func (b *buffer) free(m *Memory) {
	if b == nil {
		return
	}
	m.give(b.charge)
	b.charge = 0
	if b.loan != nil {
		b.loan.End()
		b.b, b.loan = nil, nil
		lentBuffers.Put(b)
		return
	}
	if class, ok := classOf(len(b.b)); ok {
		pools[class].Put(b)
	}
}

func classOf(size int) (class int, ok bool) {
	class = bits.TrailingZeros(uint(size))
	return class, class < len(pools) && size == 1<<class
}

// roundUp returns the smallest power of two that is at least n.
func roundUp(n int) int { return 1 << bits.Len(uint(n-1)) }

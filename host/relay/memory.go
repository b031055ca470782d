package relay

import (
	"math/bits"
	"sync"

	"github.com/framehost/framehost/codecs/codeccall"
)

// Sizes of buffers, in bytes, all powers of two.
const (
	smallPark     = 1 << 10   // an unfinished frame's beginning; paid for when the session starts
	smallRead     = 2 << 10   // what is read into when no other buffer can be had; likewise
	largePark     = 16 << 10  // beginnings up to half of this are moved out of bigger buffers before waiting; a read while memory is short
	baseRead      = 64 << 10  // the usual read
	maxHeapRead   = 256 << 10 // the largest while the peer floods
	maxSharedRead = 2 << 20   // the same into memory that is lent: a call copies none of it, so the fewer calls the better
)

// directionMemory is the charge for a direction from its start to its end. It covers the beginning of an unfinished frame, a
// small read, the payloads built from that, and their wire.
const directionMemory = smallPark + smallRead + smallRead + 2*smallRead

// sessionMemory is the charge for the two directions of a session.
const sessionMemory = 2 * directionMemory

// lentShare is what all reads into lent memory that floods fill are to take together, in bytes: more of it only makes
// each byte leave the processors' caches before it has been through the codecs.
const lentShare = 8 << 20

// share returns how long a read into lent memory may be where so many flood, of which the caller is one.
func (a *memoryAccount) share() int {
	if a == nil {
		return maxSharedRead
	}
	share := lentShare / int(max(a.budget.flooded.Load(), 1))
	return min(max(1<<(bits.Len(uint(share))-1), maxHeapRead), maxSharedRead)
}

// A buffer is memory with what was charged for it.
type buffer struct {
	b      []byte
	charge int64
	loan   codeccall.Loan // what b lies in; nil: b is from the heap
}

// pools has a pool of *buffer for each power of two up to maxHeapRead. Bigger ones are left to the garbage collector.
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
func (b *buffer) free(a *memoryAccount) {
	if b == nil {
		return
	}
	a.give(b.charge)
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

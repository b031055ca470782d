package relay

import (
	"math/bits"
	"sync"

	"github.com/framehost/framehost/codecs/codeccall"
)

// Sizes of buffers, in bytes, all powers of two.
const (
	smallPark     = 1 << 10   // holds the beginning of an unfinished frame; charged when the session starts
	smallRead     = 2 << 10   // a read when no larger buffer is available; charged when the session starts
	largePark     = 16 << 10  // a read while memory is short; before a wait, up to half as much is moved here from a larger buffer
	baseRead      = 64 << 10  // the usual read
	maxHeapRead   = 256 << 10 // the largest read while the peer floods
	maxSharedRead = 2 << 20   // the same into lent memory, which calls do not copy, so fewer calls cost less
)

// directionMemory is the charge for a direction from its start to its end, in bytes. It covers the beginning of an unfinished
// frame, a small read, the payloads built from that read, and their wire.
const directionMemory = smallPark + smallRead + smallRead + 2*smallRead

// sessionMemory is the charge for the two directions of a session, in bytes.
const sessionMemory = 2 * directionMemory

// lentShare is the target size, in bytes, of all reads of flooding senders into lent memory together. With more, bytes leave the
// processors' caches before the codecs have processed them.
const lentShare = 8 << 20

// share returns the largest size, in bytes, of a read into lent memory for one of the directions that flood at present.
func (a *memoryAccount) share() int {
	if a == nil {
		return maxSharedRead
	}
	share := lentShare / int(max(a.budget.flooded.Load(), 1))
	return min(max(1<<(bits.Len(uint(share))-1), maxHeapRead), maxSharedRead)
}

// A buffer is memory with the charge for it.
type buffer struct {
	b      []byte
	charge int64
	loan   codeccall.Loan // the loan that contains b; nil: b is from the heap
}

// pools has a pool of *buffer for each power of two up to maxHeapRead. The garbage collector frees larger buffers.
var pools [19]sync.Pool

// newBuffer returns a buffer of size bytes, for which the caller has charged charge bytes.
func newBuffer(size int, charge int64) *buffer {
	if class, ok := classOf(size); ok {
		if b, ok := pools[class].Get().(*buffer); ok {
			b.charge = charge
			return b
		}
	}
	return &buffer{b: make([]byte, size), charge: charge}
}

// lentBuffers is a pool of buffers that have no memory of their own.
var lentBuffers = sync.Pool{New: func() any { return new(buffer) }}

// lentBuffer returns a buffer of size bytes in memory that lender lends, or nil if lender lends none.
func lentBuffer(lender codeccall.Lender, size int, charge int64) *buffer {
	loan := lender.Lend(size)
	if loan == nil {
		return nil
	}
	b := lentBuffers.Get().(*buffer)
	b.b, b.charge, b.loan = loan.Bytes()[:size:size], charge, loan
	return b
}

// free returns b to its pool or lender, and returns its charge to a. b may be nil.
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

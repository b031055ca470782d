//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"math/bits"
	"sync"
	"time"
)

// Sizes of blocks, in bytes. Up to 1 MiB they are powers of four times 4 KiB, with many blocks in one segment; larger blocks
// are powers of two, each in a segment of its own.
const (
	smallestBlock = 4 << 10
	classCount    = 5
	largestClass  = smallestBlock << (2 * (classCount - 1))
	slabSize      = 4 * largestClass
	maxBlock      = 1 << 32 // offsets have 32 bits
)

// trimEvery is the interval at which an arena gives back the segments that were not used since the last time.
const trimEvery = time.Second

// An arena hands out blocks of shared memory. All of its bookkeeping is private to the host.
//
// It hands out the blocks that were given back last first: they are likely to be in the caches, and segments of blocks that
// stay unused can be given back to the system.
type arena struct {
	// open creates a segment and makes the plugin map it, which may happen later. open may wait for the plugin, so it is
	// called without mu: only requests for blocks of the same class wait with it.
	open func(size int) (*segment, error)

	mu       sync.Mutex
	opened   sync.Cond        // of mu: opening a slab has ended, with or without success
	opening  [classCount]bool // a slab of the class is being opened
	free     [classCount][]*block
	large    []*block // free blocks in segments of their own
	segments []*segment
	lent     int  // blocks handed out
	closed   bool // no block is handed out any more; blocks that are out are unmapped when they end
	trimming bool // the timer is set
	failed   error
}

// A segment is memory that both processes have mapped.
type segment struct {
	id     uint32
	memory []byte
	class  int  // of its blocks; classCount: the segment is one large block
	lent   int  // blocks handed out
	used   bool // since the last call of unused
	unmap  func()
	drop   func() // makes the plugin unmap the segment
	blocks []block
}

// A block is a piece of a segment, handed out to one user at a time. It implements codeccall.Loan.
type block struct {
	arena   *arena
	segment *segment
	offset  uint32
	bytes   []byte
}

func (a *arena) init(open func(size int) (*segment, error)) { a.open, a.opened.L = open, &a.mu }

func (b *block) Bytes() []byte { return b.bytes }

// place returns the place of n bytes that begin at from in the block.
func (b *block) place(from, n int) place {
	return place{segment: b.segment.id, offset: b.offset + uint32(from), length: uint32(n)}
}

// End implements codeccall.Loan.
func (b *block) End() {
	a, s := b.arena, b.segment
	a.mu.Lock()
	a.lent--
	s.lent--
	switch {
	case a.closed && s.lent == 0:
		s.unmap()
	case a.closed:
	case s.class == classCount:
		a.large = append(a.large, b)
	default:
		a.free[s.class] = append(a.free[s.class], b)
	}
	a.mu.Unlock()
}

// classFor returns the class of blocks of size bytes.
func classFor(size int) int {
	if size <= smallestBlock {
		return 0
	}
	return (bits.Len(uint(size-1)) - bits.Len(smallestBlock-1) + 1) / 2
}

// get returns a block of at least size bytes, or nil if there is no memory for it.
func (a *arena) get(size int) *block {
	a.mu.Lock()
	var b *block
	if !a.closed && size <= maxBlock {
		b = a.pick(size)
	}
	if b != nil {
		a.lent++
		b.segment.lent++
		b.segment.used = true
	}
	a.mu.Unlock()
	return b
}

// pick takes a free block off its list, or opens a segment for it. a.mu is held, except while a segment is opened.
func (a *arena) pick(size int) *block {
	class := classFor(size)
	if class >= classCount {
		return a.pickLarge(1 << bits.Len(uint(size-1)))
	}
	for len(a.free[class]) == 0 {
		if a.opening[class] {
			a.opened.Wait()
			if a.closed {
				return nil
			}
			continue
		}
		a.opening[class] = true
		ok := a.addSlab(class)
		a.opening[class] = false
		a.opened.Broadcast()
		if !ok {
			return nil
		}
	}
	last := len(a.free[class]) - 1
	b := a.free[class][last]
	a.free[class] = a.free[class][:last]
	return b
}

func (a *arena) pickLarge(size int) *block {
	for i := len(a.large) - 1; i >= 0; i-- {
		if b := a.large[i]; len(b.bytes) == size {
			a.large = append(a.large[:i], a.large[i+1:]...)
			return b
		}
	}
	s := a.add(size)
	if s == nil {
		return nil
	}
	s.class = classCount
	s.blocks = []block{{arena: a, segment: s, bytes: s.memory}}
	return &s.blocks[0]
}

// addSlab adds a segment of blocks of class.
func (a *arena) addSlab(class int) bool {
	s := a.add(slabSize)
	if s == nil {
		return false
	}
	s.class = class
	size := smallestBlock << (2 * class)
	s.blocks = make([]block, slabSize/size)
	for i := len(s.blocks) - 1; i >= 0; i-- {
		from := i * size
		s.blocks[i] = block{arena: a, segment: s, offset: uint32(from), bytes: s.memory[from : from+size : from+size]}
		a.free[class] = append(a.free[class], &s.blocks[i])
	}
	return true
}

func (a *arena) add(size int) *segment {
	a.mu.Unlock()
	s, err := a.open(size)
	a.mu.Lock()
	switch {
	case err != nil:
		a.failed = err
		return nil
	case a.closed:
		s.unmap()
		return nil
	}
	a.segments = append(a.segments, s)
	if !a.trimming {
		a.trimming = true
		time.AfterFunc(trimEvery, a.trim)
	}
	return s
}

// trim gives back the segments that were not used since its last call. It runs again while there are segments.
func (a *arena) trim() {
	for _, s := range a.unused() {
		s.drop() // which may wait for the plugin
		s.unmap()
	}
}

// unused removes and returns the segments that were not used since its last call. If others are left, it schedules trim.
func (a *arena) unused() (unused []*segment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	kept := a.segments[:0]
	for _, s := range a.segments {
		if s.lent > 0 || s.used {
			s.used = false
			kept = append(kept, s)
			continue
		}
		a.forget(s)
		unused = append(unused, s)
	}
	clear(a.segments[len(kept):])
	a.segments = kept
	if a.trimming = len(kept) > 0; a.trimming {
		time.AfterFunc(trimEvery, a.trim)
	}
	return unused
}

// forget removes the blocks of s, all of which are free, from the free list.
func (a *arena) forget(s *segment) {
	list := &a.large
	if s.class < classCount {
		list = &a.free[s.class]
	}
	kept := (*list)[:0]
	for _, b := range *list {
		if b.segment != s {
			kept = append(kept, b)
		}
	}
	clear((*list)[len(kept):])
	*list = kept
}

// close stops handing out blocks. Lent blocks stay readable until their End.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	a.opened.Broadcast()
	for _, s := range a.segments {
		if s.lent == 0 {
			s.unmap()
		}
	}
	a.free, a.large, a.segments = [classCount][]*block{}, nil, nil
}

// failure returns why the last segment could not be opened.
func (a *arena) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

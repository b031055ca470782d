//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"math/bits"
	"sync"
	"time"
)

// Sizes of blocks, in bytes: powers of four from 4 KiB, many of them in one segment; beyond 1 MiB powers of two, each in a
// segment of its own.
const (
	smallestBlock = 4 << 10
	classCount    = 5
	largestClass  = smallestBlock << (2 * (classCount - 1))
	slabSize      = 4 * largestClass
	maxBlock      = 1 << 32 // offsets have 32 bits
)

// trimEvery is how often segments are looked for that nobody has used since the last look. Those are given back.
const trimEvery = time.Second

// An arena hands out blocks of memory that both processes see. All of its bookkeeping is private to the host.
//
// Blocks that were given back last are handed out first: they are the ones that the caches know, and the others can be
// given back to the system.
type arena struct {
	// open makes a segment that both processes have mapped, or will. It may wait for the plugin, so it is called without mu:
	// nobody else has to wait with it but those who need blocks of the same class.
	open func(size int) (*segment, error)

	mu       sync.Mutex
	opened   sync.Cond        // a slab was opened, or could not be; of mu
	opening  [classCount]bool // a slab of the class is being opened
	free     [classCount][]*block
	large    []*block // free ones in segments of their own
	segments []*segment
	lent     int  // blocks handed out
	closed   bool // nothing is handed out any more; what was ends by and by
	trimming bool // the timer is set
	failed   error
}

// A segment is memory that both processes have mapped.
type segment struct {
	id     uint32
	memory []byte
	class  int  // of its blocks; classCount: it is one large block
	lent   int  // blocks handed out
	used   bool // since the last look for unused ones
	unmap  func()
	drop   func() // tells the plugin that the segment is no longer used
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

// place returns where n bytes lie that begin at from in the block.
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

// get returns a block of at least size bytes, or nil if there is none to be had.
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

// pick, and what it calls, is called with a.mu held, and lets go of it while a segment is opened.
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

// addSlab adds a segment full of blocks of class.
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

// trim gives back the segments that nobody has used since it was called last. It goes on as long as there are any.
func (a *arena) trim() {
	for _, s := range a.unused() {
		s.drop() // which may wait for the plugin
		s.unmap()
	}
}

// unused takes out the segments that nobody has used since it was called last, and has trim called again if others are left.
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

// forget takes the blocks of s, all of which are free, off the list of those.
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

// close hands nothing out any more. Blocks that are lent stay readable until their End.
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

// failure returns why the last block could not be had.
func (a *arena) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

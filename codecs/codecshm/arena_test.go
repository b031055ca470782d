//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/framehost/framehost/codecs/codeccall"
)

// opener makes segments of ordinary memory and records what happens to them.
type opener struct {
	last    uint32
	dropped []uint32
	gone    []uint32 // unmapped
	err     error
}

func (o *opener) arena() *arena {
	a := &arena{}
	a.init(func(size int) (*segment, error) {
		if o.err != nil {
			return nil, o.err
		}
		o.last++
		id := o.last
		return &segment{
			id: id, memory: make([]byte, size),
			unmap: func() { o.gone = append(o.gone, id) },
			drop:  func() { o.dropped = append(o.dropped, id) },
		}, nil
	})
	return a
}

// While memory is passed to a plugin, which may take long, the rest of the arena goes on.
func TestArenaIsNotLockedWhileASegmentIsHandedOver(t *testing.T) {
	a := (&opener{}).arena()
	other := a.get(smallestBlock)
	open, opened := a.open, 0
	unlocked := func() bool {
		if !a.mu.TryLock() {
			return false
		}
		a.mu.Unlock()
		return true
	}
	a.open = func(size int) (*segment, error) {
		if opened++; !unlocked() {
			t.Error("a segment is opened under the lock")
			return nil, errors.New("locked")
		}
		other.End()
		if other = a.get(smallestBlock); other == nil {
			t.Error("there is no other block meanwhile")
		}
		s, err := open(size)
		if err == nil {
			drop := s.drop
			s.drop = func() {
				if !unlocked() {
					t.Error("a segment is dropped under the lock")
				}
				drop()
			}
		}
		return s, err
	}
	if b := a.get(smallestBlock + 1); b == nil {
		t.Error("there is no block")
	} else {
		b.End()
	}
	if b := a.get(largestClass + 1); b == nil {
		t.Error("there is no large block")
	} else {
		b.End()
	}
	a.trim()
	a.trim()
	if opened != 2 {
		t.Errorf("%d segments were opened, want 2", opened)
	}
}

// Many goroutines need blocks of a class at once: one segment is opened for all, also for those that came while it was opened.
func TestArenaOpensOneSegmentForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &opener{}
		a := o.arena()
		defer a.close()
		open := a.open
		a.open = func(size int) (*segment, error) {
			time.Sleep(time.Second) // in the bubble's time
			return open(size)
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if a.get(smallestBlock) == nil {
					t.Error("there is no block")
				}
			})
		}
		all.Wait()
		if o.last != 1 {
			t.Errorf("%d segments were opened, want 1", o.last)
		}
	})
}

func TestClasses(t *testing.T) {
	for _, test := range []struct{ size, class int }{
		{0, 0}, {1, 0}, {smallestBlock, 0}, {smallestBlock + 1, 1}, {4 * smallestBlock, 1}, {4*smallestBlock + 1, 2},
		{64 << 10, 2}, {64<<10 + 1, 3}, {256 << 10, 3}, {256<<10 + 1, 4}, {largestClass, 4}, {largestClass + 1, classCount},
		{1 << 31, 11}, {maxBlock, 11},
	} {
		if got := classFor(test.size); got != test.class && (test.class < classCount || got < classCount) {
			t.Errorf("%d bytes are of class %d, want %d", test.size, got, test.class)
		}
	}
	o := &opener{}
	a := o.arena()
	for _, size := range []int{0, 1, smallestBlock, smallestBlock + 1, 100_000, largestClass, largestClass + 1, 5 << 20} {
		b := a.get(size)
		most := max(4*size, smallestBlock)
		if len(b.bytes) < size || len(b.bytes) > most || cap(b.bytes) > len(b.segment.memory) {
			t.Errorf("%d bytes: got a block of %d", size, len(b.bytes))
		}
		if &b.bytes[0] != &b.segment.memory[b.offset] || int(b.offset)%alignment != 0 {
			t.Errorf("%d bytes: the block is not at its offset %d", size, b.offset)
		}
		p := b.place(size/2, size-size/2)
		if p.segment != b.segment.id || int(p.offset) != int(b.offset)+size/2 || int(p.length) != size-size/2 {
			t.Errorf("%d bytes: place %+v", size, p)
		}
	}
	if b := a.get(maxBlock + 1); b != nil {
		t.Error("a block has more bytes than offsets can count")
	}
}

// The block that was given back last is lent first. Large blocks are lent again only for the same size.
func TestLastReturnedIsLentFirst(t *testing.T) {
	o := &opener{}
	a := o.arena()
	for _, size := range []int{1, largestClass, 3 << 20} {
		first, second, third := a.get(size), a.get(size), a.get(size)
		second.End()
		third.End()
		first.End()
		if x, y, z := a.get(size), a.get(size), a.get(size); x != first || y != third || z != second {
			t.Errorf("%d bytes: lent in another order", size)
		}
	}
	large := a.get(2 << 20)
	large.End()
	if other := a.get(8 << 20); other == large || len(other.bytes) != 8<<20 {
		t.Error("a block of another size was lent")
	}
	if a.get(2<<20-5) != large {
		t.Error("the block was not lent again")
	}
}

func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &opener{}
		a := o.arena()
		wait := func() {
			a.mu.Lock()           // the race detector does not know that a timer's callback runs after what preceded it
			a.mu.Unlock()         //nolint:staticcheck // an empty critical section is the point
			time.Sleep(trimEvery) // in the bubble's time
			synctest.Wait()
		}
		kept := a.get(1)              // segment 1
		a.get(100_000).End()          // segment 2
		a.get(2 * largestClass).End() // segment 3
		if wait(); len(o.dropped) != 0 {
			t.Fatalf("dropped %v, which were used a while ago", o.dropped)
		}
		a.get(100_000).End()
		if wait(); !slices.Equal(o.dropped, []uint32{3}) || !slices.Equal(o.gone, o.dropped) {
			t.Fatalf("dropped %v, unmapped %v, want the large one", o.dropped, o.gone)
		}
		if wait(); !slices.Equal(o.dropped, []uint32{3, 2}) {
			t.Fatalf("dropped %v, want what is not used any more", o.dropped)
		}
		for range 5 {
			wait()
		}
		if len(o.dropped) != 2 || len(a.segments) != 1 {
			t.Fatalf("dropped %v, and has %d segments; want that the lent one is kept", o.dropped, len(a.segments))
		}
		kept.End()
		wait()
		wait()
		if len(o.dropped) != 3 || len(a.segments) != 0 || len(a.free[0]) != 0 || a.trimming {
			t.Fatalf("dropped %v, %d segments, %d free blocks, still at it: %v", o.dropped, len(a.segments), len(a.free[0]), a.trimming)
		}
		// And again from the beginning.
		if b := a.get(1); b.segment.id != 4 || !a.trimming {
			t.Errorf("segment %d, trims: %v", b.segment.id, a.trimming)
		}
		a.close()
		wait()
		if !slices.Equal(o.gone, []uint32{3, 2, 1}) {
			t.Errorf("unmapped %v though one is lent", o.gone)
		}
	})
}

// The process unmaps dropped segments, and goes on.
func TestTrimmedSegmentsAreGone(t *testing.T) {
	before := mapped(t)
	e := start(t)
	d := e.open(mixed{}, 100)
	for range 3 {
		for _, size := range []int{10, 100_000, 2 * largestClass} {
			if err := d.Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, size), Room: size}, new(codeccall.Decoded)); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range []*arena{&e.in, &e.out} {
			a.trim()
			a.trim() // no block was used since
			if len(a.segments) != 0 {
				t.Errorf("%d segments are left", len(a.segments))
			}
		}
	}
	e.close()
	if got := mapped(t); got != before {
		t.Errorf("%d mappings, %d before", got, before)
	}
}

func TestNoMemory(t *testing.T) {
	o := &opener{err: errors.New("too poor")}
	a := o.arena()
	if a.get(1) != nil || a.get(largestClass+1) != nil || a.failure() != o.err || a.lent != 0 {
		t.Errorf("got memory, or %v", a.failure())
	}
	o.err = nil
	if a.get(1) == nil {
		t.Error("got no memory though there is some again")
	}
}

// No two lent blocks share a byte, and all memory is given back, in any order.
func TestBlocksAreApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	o := &opener{}
	a := o.arena()
	var lent []*block
	for range 3000 {
		if len(lent) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(lent))
			lent[i].End()
			lent = slices.Delete(lent, i, i+1)
		} else {
			lent = append(lent, a.get(r.IntN(smallestBlock<<(2*r.IntN(4)))))
		}
		if r.IntN(200) == 0 {
			a.trim()
		}
	}
	slices.SortFunc(lent, func(x, y *block) int {
		if address(x) < address(y) {
			return -1
		}
		return 1
	})
	for i := 1; i < len(lent); i++ {
		if address(lent[i-1])+uintptr(len(lent[i-1].bytes)) > address(lent[i]) {
			t.Fatal("two blocks overlap")
		}
	}
	if a.lent != len(lent) {
		t.Errorf("%d blocks are lent, want %d", a.lent, len(lent))
	}
	a.close()
	a.close()
	for _, b := range lent {
		b.End()
	}
	slices.Sort(o.gone)
	if len(o.gone) != int(o.last) || len(slices.Compact(o.gone)) != len(o.gone) {
		t.Errorf("unmapped %d times, want each of %d segments once", len(o.gone), o.last)
	}
}

func address(b *block) uintptr { return uintptr(unsafe.Pointer(&b.bytes[0])) }

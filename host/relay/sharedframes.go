package relay

import (
	"context"
	"encoding/binary"
	"math"
	"sort"
	"sync"
	"sync/atomic"
)

// A sharedFrames holds frames that several receivers share. It does not change after it is created. It returns to its pool when its
// last holder calls release.
//
// A sharedFrames is one buffer of the right size: the wire, followed by the end of each frame, in four bytes. So frames in queues take
// no more memory than is charged for them, however large the buffer was into which they were encoded.
type sharedFrames struct {
	holders atomic.Int32
	account *memoryAccount
	buf     *buffer
	wire    int // bytes of wire
	frames  int
}

const (
	endSize              = 4   // bytes for the end of one frame
	sharedFramesOverhead = 128 // bytes charged for a sharedFrames in addition to its buffer
)

var sharedFramesPool = sync.Pool{New: func() any { return new(sharedFrames) }}

// newSharedFrames returns a copy of the frames in wire, which end at ends. The caller has one hold on it. Frames of no bytes are left
// out, unless empties is true. newSharedFrames returns nil if no frame is left. It may wait for memory, until ctx ends, and returns an
// error if it gets none.
func newSharedFrames(ctx context.Context, a *memoryAccount, wire []byte, ends []uint32, empties bool) (*sharedFrames, error) {
	frames, last := len(ends), uint32(0)
	if !empties {
		frames = 0
	}
	for _, end := range ends {
		if !empties && end != last {
			frames++
		}
		last = end
	}
	if frames == 0 {
		return nil, nil
	}
	size := roundUp(int(last) + endSize*frames)
	charge := int64(size) + sharedFramesOverhead
	if err := a.acquire(ctx, charge); err != nil {
		return nil, err
	}
	p := sharedFramesPool.Get().(*sharedFrames)
	p.account, p.buf, p.wire, p.frames = a, newBuffer(size, charge), int(last), frames
	p.holders.Store(1)
	copy(p.buf.b, wire[:last])
	table := p.buf.b[last:last]
	for i, end := range ends {
		if empties || end != before(ends, i) {
			table = binary.NativeEndian.AppendUint32(table, end)
		}
	}
	return p, nil
}

// before returns where the frame before frame i ends.
func before(ends []uint32, i int) uint32 {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// start returns where frame i begins. start(p.frames) is the end of the last frame.
func (p *sharedFrames) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(p.buf.b[p.wire+endSize*(i-1):]))
}

func (p *sharedFrames) hold() { p.holders.Add(1) }

func (p *sharedFrames) release() {
	if p.holders.Add(-1) > 0 {
		return
	}
	p.buf.free(p.account)
	p.account, p.buf = nil, nil
	sharedFramesPool.Put(p)
}

// A frameRange is the frames of a sharedFrames from index from up to, but without, index to.
type frameRange struct {
	*sharedFrames
	from, to int
}

func (p *sharedFrames) whole() frameRange   { return frameRange{p, 0, p.frames} }
func (s frameRange) len() int               { return s.to - s.from }
func (s frameRange) size() int              { return s.start(s.to) - s.start(s.from) }
func (s frameRange) bytes() []byte          { return s.buf.b[s.start(s.from):s.start(s.to)] }
func (s frameRange) first(n int) frameRange { return frameRange{s.sharedFrames, s.from, s.from + n} }

// frame returns frame i of the range.
func (s frameRange) frame(i int) []byte { return s.buf.b[s.start(s.from+i):s.start(s.from+i+1)] }

// without returns the frames of all that are left after size bytes were written. A frame that was written in part is left, whole.
// without releases the ranges that were written whole.
func without(all []frameRange, size int) []frameRange {
	for i, s := range all {
		if n := s.fitting(size, math.MaxInt); n < s.len() {
			all[i].from += n
			return all[i:]
		}
		size -= s.size()
		s.release()
	}
	return nil
}

// framesOf returns the number of frames in all.
func framesOf(all []frameRange) (frames int) {
	for _, s := range all {
		frames += s.len()
	}
	return frames
}

// fitting returns how many frames at the front fit: at most frames of them, with at most size bytes together.
func (s frameRange) fitting(size, frames int) int {
	if frames <= 0 {
		return 0
	}
	if s.len() <= frames && s.size() <= size {
		return s.len()
	}
	limit := s.start(s.from) + size
	return min(frames, sort.Search(s.len(), func(i int) bool { return s.start(s.from+i+1) > limit }))
}

// freeing returns how many frames must be removed from the front to remove at least frames of them, with at least size bytes together.
// It returns the number of all frames if they are not enough.
func (s frameRange) freeing(size, frames int) int {
	limit := s.start(s.from) + size
	return min(s.len(), max(frames, sort.Search(s.len(), func(i int) bool { return s.start(s.from+i) >= limit })))
}

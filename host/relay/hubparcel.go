package relay

import (
	"context"
	"encoding/binary"
	"math"
	"sort"
	"sync"
	"sync/atomic"
)

// A parcel is frames that several receivers share. It is not changed once it is made, and goes back when the last of
// them let go of it.
//
// It is one buffer of just the size: the wire, and behind it, four bytes a frame, where each frame ends. So what waits
// in queues costs what is charged for it, however large the memory was that it was encoded in.
type parcel struct {
	holders atomic.Int32
	account *memoryAccount
	buf     *buffer
	wire    int // bytes of wire
	frames  int
}

const (
	endSize        = 4   // bytes of an end
	parcelOverhead = 128 // bytes that a parcel costs besides its buffer
)

var parcels = sync.Pool{New: func() any { return new(parcel) }}

// newParcel returns a copy of the frames of wire that end at ends, which the caller holds. Frames of no bytes are left
// out unless empties says that they are frames like others. It returns nil when there is none, and an error when there
// is no memory for it.
func newParcel(ctx context.Context, a *memoryAccount, wire []byte, ends []uint32, empties bool) (*parcel, error) {
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
	charge := int64(size) + parcelOverhead
	if err := a.take(ctx, charge); err != nil {
		return nil, err
	}
	p := parcels.Get().(*parcel)
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

// before returns where the frame in front of frame i ends.
func before(ends []uint32, i int) uint32 {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// start returns where frame i begins; that of the frame behind the last is where that one ends.
func (p *parcel) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(p.buf.b[p.wire+endSize*(i-1):]))
}

func (p *parcel) hold() { p.holders.Add(1) }

func (p *parcel) letGo() {
	if p.holders.Add(-1) > 0 {
		return
	}
	p.buf.free(p.account)
	p.account, p.buf = nil, nil
	parcels.Put(p)
}

// A segment is the frames from..to of a parcel.
type segment struct {
	*parcel
	from, to int
}

func (p *parcel) whole() segment      { return segment{p, 0, p.frames} }
func (s segment) len() int            { return s.to - s.from }
func (s segment) size() int           { return s.start(s.to) - s.start(s.from) }
func (s segment) bytes() []byte       { return s.buf.b[s.start(s.from):s.start(s.to)] }
func (s segment) first(n int) segment { return segment{s.parcel, s.from, s.from + n} }

// frame returns frame i of the segment.
func (s segment) frame(i int) []byte { return s.buf.b[s.start(s.from+i):s.start(s.from+i+1)] }

// without returns the rest of segments after size bytes of them were written. A frame that was written in part belongs to
// the rest, whole. It releases segments that were written whole.
func without(all []segment, size int) []segment {
	for i, s := range all {
		if n := s.fitting(size, math.MaxInt); n < s.len() {
			all[i].from += n
			return all[i:]
		}
		size -= s.size()
		s.letGo()
	}
	return nil
}

// framesOf returns how many frames there are in all.
func framesOf(all []segment) (frames int) {
	for _, s := range all {
		frames += s.len()
	}
	return frames
}

// fitting returns how many frames at the front are neither more than frames nor longer than size bytes together.
func (s segment) fitting(size, frames int) int {
	if frames <= 0 {
		return 0
	}
	if s.len() <= frames && s.size() <= size {
		return s.len()
	}
	limit := s.start(s.from) + size
	return min(frames, sort.Search(s.len(), func(i int) bool { return s.start(s.from+i+1) > limit }))
}

// freeing returns how many frames at the front are at least frames, and have at least size bytes together, or all.
func (s segment) freeing(size, frames int) int {
	limit := s.start(s.from) + size
	return min(s.len(), max(frames, sort.Search(s.len(), func(i int) bool { return s.start(s.from+i) >= limit })))
}

//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"sync/atomic"
	"unsafe"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

const (
	laneCount = 2    // two lanes let the process use two processors
	slotCount = 1024 // calls under way on a lane; a power of two
	maxText   = 4096 // bytes of an error's text, or of a fault's Want
)

// The kinds of calls.
const (
	kindDecode = 1
	kindEncode = 2
)

// A place is a piece of a segment.
type place struct {
	segment uint32
	offset  uint32 // in bytes
	length  uint32 // likewise
}

// laneControl is the host's part of a lane, in memory that the plugin can only read. Fields that one process writes while
// the other polls them have cache lines of their own.
type laneControl struct {
	head   atomic.Uint64 // calls submitted since the lane began
	_      [56]byte
	parked atomic.Uint32 // 0: no call waits for the signal; else the plugin must give the signal once for each new value
	_      [60]byte
	ring   [slotCount]uint32 // the slots of submitted calls; call number n is at n modulo slotCount
	calls  [slotCount]callSlot
}

// callSlot is a call. The host writes it before it submits the slot, and not again until the call was answered.
type callSlot struct {
	attempt  uint64 // answers repeat the attempt that they belong to
	kind     uint32
	codec    uint32 // number under which it was configured
	eof      uint32 // 0 or 1
	wire     place  // of a decode: the wire shown; of an encode: the bytes that refs count through
	refs     place  // of an encode: the payloads, as codecs.Ref
	entries  place  // for the Refs of a decode, or the ends of an encode
	data     place  // for the bytes of the result; its length is the room
	faults   place  // of a decode: for the faults that it skips; its length limits their number, see faultRoom
	examined uint32
	stateLen uint32
	state    [codecs.MaxState]byte
	_        [40]byte
}

// laneState is the plugin's part of a lane, in memory that it can write. The host trusts none of it.
type laneState struct {
	nap     atomic.Uint32 // odd while the plugin waits for the bell; counts the beginnings and ends of naps
	_       [60]byte
	answers [slotCount]answerSlot
}

// answerSlot is the result of the call in the slot with the same number.
type answerSlot struct {
	attempt atomic.Uint64 // written last
	begun   atomic.Uint64 // the attempt that a worker has begun; written before the codec sees the call
	head    answerHead
	state   [codecs.MaxState]byte
	text    [maxText]byte // of the fault, or of the error
}

// answerHead has the numbers of an answer. The host copies it as a whole.
type answerHead struct {
	bits        uint32 // bitMore, bitFault, bitFailed
	entries     uint32 // Refs, or ends
	size        uint32 // bytes of data
	consumed    uint32
	examined    uint32
	need        uint32
	roomNeeded  uint32
	skipped     uint32
	stateLen    uint32
	textLen     uint32
	faultKind   uint32
	dropped     uint32
	faults      uint32 // number of skipped faults
	wants       uint32 // number of their different texts
	faultOffset int64
	faultAt     int64
	faultResume int64
	announced   uint64 // by a frame that is too long
}

// faultEntry is a skipped fault.
type faultEntry struct {
	kind      uint32
	offset    uint32
	at        uint32
	resume    uint32
	payloads  uint32
	want      uint32 // index of the wantEntry
	dropped   uint32
	_         uint32
	announced uint64
}

// wantEntry is the Want of skipped faults. codeccall.MaxWants of them precede the faultEntries.
type wantEntry struct {
	length uint32
	text   [codeccall.MaxWant]byte
}

// faultRoom returns the size of the place for up to skips skipped faults.
func faultRoom(skips int) int {
	if skips == 0 {
		return 0
	}
	return wantRoom + skips*int(unsafe.Sizeof(faultEntry{}))
}

const wantRoom = codeccall.MaxWants * int(unsafe.Sizeof(wantEntry{}))

// faultsIn returns the tables in b, a place for skipped faults, whose beginning is aligned; none if b is too small.
func faultsIn(b []byte) ([]wantEntry, []faultEntry) {
	if len(b) < wantRoom {
		return nil, nil
	}
	wants := unsafe.Slice((*wantEntry)(unsafe.Pointer(unsafe.SliceData(b))), codeccall.MaxWants)
	b = b[wantRoom:]
	return wants, unsafe.Slice((*faultEntry)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(faultEntry{})))
}

// Bits of an answer.
const (
	bitMore   = 1 << iota
	bitFault  // the call ended with a fault
	bitFailed // the codec itself failed; text is the error
)

// The two segments that exist from the beginning.
const (
	controlSegment = 0
	stateSegment   = 1
)

const (
	controlSize = int(laneCount * unsafe.Sizeof(laneControl{}))
	stateSize   = int(laneCount * unsafe.Sizeof(laneState{}))
)

func controlOf(segment []byte) *[laneCount]laneControl {
	return (*[laneCount]laneControl)(unsafe.Pointer(unsafe.SliceData(segment[:controlSize])))
}

func stateOf(segment []byte) *[laneCount]laneState {
	return (*[laneCount]laneState)(unsafe.Pointer(unsafe.SliceData(segment[:stateSize])))
}

// refsIn and endsIn return b, whose beginning is aligned, as a table.
func refsIn(b []byte) []codecs.Ref {
	return unsafe.Slice((*codecs.Ref)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/refSize)
}

func endsIn(b []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/endSize)
}

// Bytes of a table's entries, and the alignment of tables and data.
const (
	refSize   = int(unsafe.Sizeof(codecs.Ref{}))
	endSize   = 4
	alignment = 64
)

func aligned(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

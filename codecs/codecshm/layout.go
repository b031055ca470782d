//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"sync/atomic"
	"unsafe"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

const (
	laneCount = 2    // two processors have use for two
	slotCount = 1024 // calls under way on a lane; a power of two
	maxText   = 4096 // bytes of an error, or of what a fault wanted
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

// laneControl is what the host says of a lane, in memory that the plugin can only read. What two processes write or wait
// for in turns lies in cache lines of its own.
type laneControl struct {
	head   atomic.Uint64 // calls submitted since the lane began
	_      [56]byte
	parked atomic.Uint32 // 0: nobody waits for the signal; otherwise it is to be given once for each value
	_      [60]byte
	ring   [slotCount]uint32 // the slots of the calls that were submitted, by their number modulo slotCount
	calls  [slotCount]callSlot
}

// callSlot is a call. The host writes it before it submits the slot, and not again before it was answered.
type callSlot struct {
	attempt  uint64 // answers say which attempt they are for
	kind     uint32
	codec    uint32 // number under which it was configured
	eof      uint32 // 0 or 1
	wire     place  // what is shown; of an encode, what refs count through
	refs     place  // of an encode: the payloads, as codecs.Ref
	entries  place  // where the Refs of a decode go, or the ends of an encode
	data     place  // where the bytes of the result go; its length is the room
	faults   place  // of a decode: where the faults that it skips go, of which its length says how many; see faultRoom
	examined uint32
	stateLen uint32
	state    [codecs.MaxState]byte
	_        [40]byte
}

// laneState is what the plugin says of a lane, in memory that it can write. The host believes none of it.
type laneState struct {
	nap     atomic.Uint32 // odd while the plugin waits for the bell; counts the beginnings and ends of naps
	_       [60]byte
	answers [slotCount]answerSlot
}

// answerSlot is the result of the call in the slot of that number.
type answerSlot struct {
	attempt atomic.Uint64 // written last
	begun   atomic.Uint64 // the attempt that a worker has taken up; written before the codec sees the call
	head    answerHead
	state   [codecs.MaxState]byte
	text    [maxText]byte // of the fault, or of the error
}

// answerHead has what every answer has. The host copies it out in one go.
type answerHead struct {
	bits        uint32 // bitMore and its like
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
	faults      uint32 // that were skipped
	wants       uint32 // texts that these want
	faultOffset int64
	faultAt     int64
	faultResume int64
	announced   uint64 // by a frame that is too long
}

// faultEntry is a fault that was skipped.
type faultEntry struct {
	kind      uint32
	offset    uint32
	at        uint32
	resume    uint32
	payloads  uint32
	want      uint32 // number of the wantEntry
	dropped   uint32
	_         uint32
	announced uint64
}

// wantEntry is what skipped faults want. There are codeccall.MaxWants in front of the entries of the faults.
type wantEntry struct {
	length uint32
	text   [maxWant]byte
}

const maxWant = 200 // bytes

// faultRoom returns the size of the place for up to so many faults that are skipped.
func faultRoom(skips int) int {
	if skips == 0 {
		return 0
	}
	return wantRoom + skips*int(unsafe.Sizeof(faultEntry{}))
}

const wantRoom = codeccall.MaxWants * int(unsafe.Sizeof(wantEntry{}))

// faultsIn reads b, whose beginning is aligned, as a place for faults that are skipped. A place that is too small has none.
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
	bitFault  // of the wire, or of a payload
	bitFailed // the codec itself failed; text says how
)

// faultKinds are the kinds of faults, by the number that stands for them.
var faultKinds = [...]error{1: codecs.ErrTooLong, 2: codecs.ErrMalformed, 3: codecs.ErrTruncated, 4: codecs.ErrUnrepresentable}

// The two segments that are there from the beginning.
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

// refsIn and endsIn read b, whose beginning is aligned, as a table.
func refsIn(b []byte) []codecs.Ref {
	return unsafe.Slice((*codecs.Ref)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/refSize)
}

func endsIn(b []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/endSize)
}

// Bytes of an entry of a table, and what tables and data are aligned to.
const (
	refSize   = int(unsafe.Sizeof(codecs.Ref{}))
	endSize   = 4
	alignment = 64
)

func aligned(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

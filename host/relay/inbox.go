package relay

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
)

// An inbox keeps what a direction received and no frame has consumed yet. It chooses the buffers: large ones while bytes
// flow, one that fits while a frame is unfinished and nothing arrives, and none otherwise.
//
// Work on a frame that arrives in many reads stays linear: bytes are moved when a buffer doubles, when the frame in
// front of theirs was consumed, or when they are few.
type inbox struct {
	memory   *Memory
	most     int              // the longest buffer that is ever wanted, in bytes
	frame    int64            // what a frame is charged that outgrows baseRead
	lender   codeccall.Lender // where buffers come from that a decoder can be shown as they are; nil: the heap alone
	unlent   bool             // the lender had no memory when it was asked last, as where calls travel by messages
	next     int              // the length of the next buffer to read into
	flooding bool             // the last read came back full, or brought a usual read's worth: more is waiting

	// beforeWaiting is called before waiting for memory, to let go of what the flow itself holds elsewhere.
	beforeWaiting func()

	buf        *buffer // holds the bytes at start..end; nil when there are none
	start, end int
	incoming   *buffer // what the read under way was given, when that is not buf itself
	space      int     // and how much of it there is to fill
	large      int     // what a buffer that outgrows the reads grows to at once, since frames were as long lately; 0: not known
}

func (in *inbox) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.start:in.end]
}

func (in *inbox) len() int { return in.end - in.start }

// size returns how long the buffer is, 0 if there is none.
func (in *inbox) size() int {
	if in.buf == nil {
		return 0
	}
	return len(in.buf.b)
}

// paidFrame is true when the buffer was charged with what a whole frame can need.
func (in *inbox) paidFrame() bool { return in.size() > baseRead && in.buf.charge >= in.frame }

func (in *inbox) consume(n int) { in.start += n }

// remember notes how large a buffer was needed, before that goes back. Only lent memory costs no more for being larger than
// what is used of it.
func (in *inbox) remember() {
	switch {
	case in.lender == nil || in.size() <= lentRead:
	case in.end >= in.size()/4:
		in.large = in.size()
	default:
		in.large = in.size() / 2
	}
}

// drop gives up everything that is there.
func (in *inbox) drop() {
	in.remember()
	in.buf.free(in.memory)
	in.buf, in.start, in.end = nil, 0, 0
}

// grab returns memory to read into, behind what is there. It never waits; settle has seen to it that there is some.
func (in *inbox) grab() []byte {
	var into []byte
	if in.buf != nil && len(in.buf.b) > largePark && !in.readsMore() {
		into = in.buf.b[in.end:]
	} else if in.incoming = in.readBuffer(); in.incoming != nil {
		into = in.incoming.b[in.len():]
	} else {
		into = in.buf.b[in.end:]
	}
	in.space = len(into)
	return into
}

// readsMore is true when so much is to be read at a time that it is worth moving what is there to a larger buffer.
func (in *inbox) readsMore() bool { return in.next > len(in.buf.b) && in.len() <= in.next/8 }

func (in *inbox) readBuffer() *buffer {
	switch {
	case in.next > baseRead && in.memory.try(perByte*int64(in.next)):
		return in.newBuffer(in.next, perByte*int64(in.next))
	case in.len() <= largePark && in.memory.try(perByte*baseRead):
		return in.newBuffer(baseRead, perByte*baseRead)
	case in.len() <= smallPark:
		return newBuffer(smallRead, 0)
	default:
		return nil
	}
}

// newBuffer returns a buffer of size bytes that charge was paid for. Only large ones are worth a loan: small ones hold
// the beginnings of frames while nothing arrives.
func (in *inbox) newBuffer(size int, charge int64) *buffer {
	if in.lender != nil && size >= baseRead {
		b := lentBuffer(in.lender, size, charge)
		if in.unlent = b == nil; !in.unlent {
			return b
		}
	}
	return newBuffer(size, charge)
}

// lent returns what the buffer lies in, nil if that is the heap.
func (in *inbox) lent() codeccall.Loan {
	if in.buf == nil {
		return nil
	}
	return in.buf.loan
}

// release takes back what grab returned, unused.
func (in *inbox) release([]byte) {
	in.incoming.free(in.memory)
	in.incoming = nil
}

// took says how many bytes were read into what grab returned last.
func (in *inbox) took(n int) {
	if n == 0 {
		in.release(nil)
		return
	}
	if in.incoming == nil {
		in.end += n
	} else {
		left := copy(in.incoming.b, in.bytes())
		in.buf.free(in.memory)
		in.buf, in.start, in.end = in.incoming, 0, left+n
		in.incoming = nil
	}
	in.setFlooding(n >= min(in.space, baseRead) && len(in.buf.b) >= baseRead)
	switch {
	case !in.flooding:
		in.next = baseRead
	case n == in.space:
		in.next = min(4*max(in.next, baseRead), in.mostRead())
	default:
		in.next = min(in.next, in.mostRead())
	}
}

// setFlooding notes whether the sender floods.
func (in *inbox) setFlooding(floods bool) {
	switch {
	case in.flooding == floods || in.memory == nil:
	case floods:
		in.memory.flooded.Add(1)
	default:
		in.memory.flooded.Add(-1)
	}
	in.flooding = floods
}

// mostRead is how long the buffers get that reads take turns with.
func (in *inbox) mostRead() int {
	if in.lender != nil && !in.unlent {
		return in.memory.share()
	}
	return floodRead
}

// settle prepares for waiting: a buffer that is much larger than what is in it goes back, and one that is full grows.
// It fails when there is no memory to grow into within the time to wait for it.
func (in *inbox) settle(ctx context.Context) error {
	n := in.len()
	if n == 0 {
		in.drop()
		return nil
	}
	if n <= largePark/2 && len(in.buf.b) > largePark {
		if holder := in.holder(n); holder != nil {
			in.remember()
			in.moveTo(holder)
			return nil
		}
	}
	enough := min(4<<10, len(in.buf.b)/2)
	if len(in.buf.b)-in.end >= enough {
		return nil
	}
	copy(in.buf.b, in.bytes())
	in.start, in.end = 0, n
	if len(in.buf.b)-in.end >= enough || len(in.buf.b) >= in.most {
		return nil
	}
	return in.grow(ctx)
}

func (in *inbox) grow(ctx context.Context) error {
	size := min(max(2*len(in.buf.b), in.large), in.most)
	if in.paidFrame() {
		grown := in.newBuffer(size, in.buf.charge)
		in.buf.charge = 0
		in.moveTo(grown)
		return nil
	}
	charge := in.chargeOf(size)
	if !in.memory.try(charge) {
		in.beforeWaiting()
		if err := in.memory.take(ctx, charge); err != nil {
			return err
		}
	}
	in.moveTo(in.newBuffer(size, charge))
	return nil
}

// detach returns the buffer for somebody else to free, after moving what is left to another one. It returns nil, and
// changes nothing, when there is no memory for that without waiting.
func (in *inbox) detach() *buffer {
	full := in.buf
	in.remember()
	if in.len() == 0 {
		in.buf, in.start, in.end = nil, 0, 0
		return full
	}
	holder := in.holder(in.len())
	if holder == nil {
		return nil
	}
	in.buf = nil
	in.end = copy(holder.b, full.b[in.start:in.end])
	in.buf, in.start = holder, 0
	return full
}

// holder returns a buffer for n unfinished bytes and as many more, or nil if there is no memory without waiting.
func (in *inbox) holder(n int) *buffer {
	size := max(roundUp(2*n), smallPark)
	if size > largePark {
		size = max(baseRead, min(size, in.most))
	}
	charge := in.chargeOf(size)
	if !in.memory.try(charge) {
		return nil
	}
	return in.newBuffer(size, charge)
}

func (in *inbox) chargeOf(size int) int64 {
	switch {
	case size <= smallPark:
		return 0
	case size <= baseRead:
		return perByte * int64(size)
	default:
		return in.frame
	}
}

func (in *inbox) moveTo(b *buffer) {
	n := copy(b.b, in.bytes())
	in.buf.free(in.memory)
	in.buf, in.start, in.end = b, 0, n
}

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
	account  *memoryAccount
	most     int              // the longest buffer that is ever wanted, in bytes
	lender   codeccall.Lender // where buffers come from that a decoder can be shown as they are; nil: the heap alone
	unlent   bool             // the last request for a loan failed, as it does where calls travel by messages
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

// Bytes returns what was read and not consumed.
func (in *inbox) Bytes() []byte {
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

// Consume drops the first n bytes.
func (in *inbox) Consume(n int) { in.start += n }

// remember notes how large a buffer was needed, before that goes back. Only lent memory costs no more for being larger than
// what is used of it.
func (in *inbox) remember() {
	switch {
	case in.lent() == nil || in.size() <= maxSharedRead:
	case in.end >= in.size()/4:
		in.large = in.size()
	default:
		in.large = in.size() / 2
	}
}

// drop gives up everything that is there.
func (in *inbox) drop() {
	in.remember()
	in.buf.free(in.account)
	in.buf, in.start, in.end = nil, 0, 0
}

// grab returns memory to read into, behind what is there. It never waits; compactOrGrow has seen to it that there is some.
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
	case in.next > baseRead && !in.account.short() && in.account.try(int64(in.next)):
		return in.newBuffer(in.next)
	case in.len() <= largePark && !in.account.short() && in.account.try(baseRead):
		return in.newBuffer(baseRead)
	case in.len() <= largePark/2 && in.account.try(largePark): // a short read leaves memory for its results
		return in.newBuffer(largePark)
	case in.len() <= smallPark:
		return newBuffer(smallRead, 0)
	default:
		return nil
	}
}

// newBuffer returns a buffer of size bytes, which were charged. Only a large one is a loan: small ones may hold the beginning of
// a frame for a long time.
func (in *inbox) newBuffer(size int) *buffer {
	if in.lender != nil && size >= baseRead {
		b := lentBuffer(in.lender, size, int64(size))
		if in.unlent = b == nil; !in.unlent {
			return b
		}
	}
	return newBuffer(size, int64(size))
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
	in.incoming.free(in.account)
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
		left := copy(in.incoming.b, in.Bytes())
		in.buf.free(in.account)
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
	case in.flooding == floods || in.account == nil:
	case floods:
		in.account.budget.flooded.Add(1)
	default:
		in.account.budget.flooded.Add(-1)
	}
	in.flooding = floods
}

// mostRead is how long the buffers get that reads take turns with.
func (in *inbox) mostRead() int {
	if in.lender != nil && !in.unlent {
		return in.account.share()
	}
	return maxHeapRead
}

// compactOrGrow prepares for waiting: a buffer that is much larger than what is in it goes back, and one that is full grows.
// It fails when there is no memory to grow into within the time to wait for it.
func (in *inbox) compactOrGrow(ctx context.Context) error {
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
	if !in.flooding && len(in.buf.b) >= 4*max(baseRead, roundUp(2*n)) {
		if holder := in.holder(n); holder != nil {
			in.remember()
			in.moveTo(holder)
		}
	}
	enough := min(4<<10, len(in.buf.b)/2)
	if len(in.buf.b)-in.end >= enough {
		return nil
	}
	copy(in.buf.b, in.Bytes())
	in.start, in.end = 0, n
	if len(in.buf.b)-in.end >= enough || len(in.buf.b) >= in.most {
		return nil
	}
	return in.grow(ctx)
}

// grow moves the bytes to a buffer of twice the size, or at once to one as large as recent frames. Only for twice the size does
// it wait for memory, after it has freed all that it can.
func (in *inbox) grow(ctx context.Context) error {
	size := min(2*len(in.buf.b), in.most)
	if large := min(in.large, in.most); large > size && in.account.try(int64(large)) {
		size = large
	} else if !in.account.try(int64(size)) {
		in.beforeWaiting()
		if err := in.account.acquire(ctx, int64(size)); err != nil {
			return err
		}
	}
	in.moveTo(in.newBuffer(size))
	return nil
}

// detach returns the buffer for the caller to free, after moving what is left to another one. It returns nil, and
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
	if size <= smallPark {
		return newBuffer(size, 0) // paid for since the direction began
	}
	if size > largePark {
		size = max(baseRead, min(size, in.most))
	}
	if !in.account.try(int64(size)) {
		return nil
	}
	return in.newBuffer(size)
}

func (in *inbox) moveTo(b *buffer) {
	n := copy(b.b, in.Bytes())
	in.buf.free(in.account)
	in.buf, in.start, in.end = b, 0, n
}

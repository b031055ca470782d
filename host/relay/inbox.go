package relay

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
)

// An inbox holds the bytes that a direction has received and that no frame has consumed yet. It chooses the size of the buffer: large
// while bytes flow, just large enough while a frame is unfinished and nothing arrives, and otherwise no buffer at all.
//
// The cost of a frame that arrives in many reads grows linearly with its length: the inbox moves bytes only when a buffer doubles,
// when the frame before them was consumed, or when they are few.
type inbox struct {
	account  *memoryAccount
	most     int              // the largest buffer that is ever needed, in bytes
	lender   codeccall.Lender // lends buffers that a decoder can use without a copy; nil: all buffers are from the heap
	unlent   bool             // the last request for a loan failed, as always when calls are sent as messages
	next     int              // the size of the next buffer to read into, in bytes
	flooding bool             // the last read filled its buffer or brought at least baseRead bytes: more are probably waiting

	// beforeWaiting is called before the inbox waits for memory, so that the owner first releases memory that it holds elsewhere.
	beforeWaiting func()

	buf        *buffer // holds the bytes at start..end; nil when there are none
	start, end int
	incoming   *buffer // the buffer for the read under way, if it is not buf
	space      int     // how many bytes that read can fill
	large      int     // the size to which a full buffer grows at once, since recent frames needed it; 0: unknown
}

// Bytes returns the bytes that were read and not consumed.
func (in *inbox) Bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.start:in.end]
}

func (in *inbox) len() int { return in.end - in.start }

// size returns the size of the buffer, or 0 if there is none.
func (in *inbox) size() int {
	if in.buf == nil {
		return 0
	}
	return len(in.buf.b)
}

// Consume drops the first n bytes.
func (in *inbox) Consume(n int) { in.start += n }

// remember notes how large a buffer was needed, before the buffer is released. It does so for lent memory only, where unused bytes of
// a buffer cost nothing.
func (in *inbox) remember() {
	switch {
	case in.lent() == nil || in.size() <= maxSharedRead:
	case in.end >= in.size()/4:
		in.large = in.size()
	default:
		in.large = in.size() / 2
	}
}

// drop drops all bytes and releases the buffer.
func (in *inbox) drop() {
	in.remember()
	in.buf.free(in.account)
	in.buf, in.start, in.end = nil, 0, 0
}

// grab returns memory to read into. The bytes in the inbox stay before it. grab never waits: compactOrGrow has provided room.
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

// readsMore reports whether the next read is so large that moving the present bytes to a larger buffer pays off.
func (in *inbox) readsMore() bool { return in.next > len(in.buf.b) && in.len() <= in.next/8 }

func (in *inbox) readBuffer() *buffer {
	switch {
	case in.next > baseRead && !in.account.short() && in.account.try(int64(in.next)):
		return in.newBuffer(in.next)
	case in.len() <= largePark && !in.account.short() && in.account.try(baseRead):
		return in.newBuffer(baseRead)
	case in.len() <= largePark/2 && in.account.try(largePark): // a short read leaves memory for its result
		return in.newBuffer(largePark)
	case in.len() <= smallPark:
		return newBuffer(smallRead, 0)
	default:
		return nil
	}
}

// newBuffer returns a buffer of size bytes, which the caller has charged. Only large buffers are loans: a small buffer may hold the
// beginning of a frame for a long time.
func (in *inbox) newBuffer(size int) *buffer {
	if in.lender != nil && size >= baseRead {
		b := lentBuffer(in.lender, size, int64(size))
		if in.unlent = b == nil; !in.unlent {
			return b
		}
	}
	return newBuffer(size, int64(size))
}

// lent returns the loan that contains the buffer, or nil if the buffer is from the heap.
func (in *inbox) lent() codeccall.Loan {
	if in.buf == nil {
		return nil
	}
	return in.buf.loan
}

// release frees the buffer that grab returned, if it was not used.
func (in *inbox) release([]byte) {
	in.incoming.free(in.account)
	in.incoming = nil
}

// took notes that n bytes were read into the memory that grab returned last.
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

// mostRead returns the largest size of a buffer for a read from a flooding sender.
func (in *inbox) mostRead() int {
	if in.lender != nil && !in.unlent {
		return in.account.share()
	}
	return maxHeapRead
}

// compactOrGrow prepares the inbox for a read. It replaces a buffer that is much larger than its contents by a smaller one, and a full
// buffer by a larger one. It returns an error if it does not get memory to grow in time.
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

// grow moves the bytes to a buffer of twice the size, or of the size that recent frames needed if memory for it is free. grow waits for
// memory only for twice the size, and only after it has released all memory that it can.
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

// detach moves the remaining bytes to another buffer, and returns the present one, which the caller frees. If detach would have to wait
// for memory, it changes nothing and returns nil.
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

// holder returns a buffer for n bytes of an unfinished frame and as many more, or nil if it would have to wait for memory.
func (in *inbox) holder(n int) *buffer {
	size := max(roundUp(2*n), smallPark)
	if size <= smallPark {
		return newBuffer(size, 0) // charged since the direction began
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

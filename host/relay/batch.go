package relay

import (
	"context"
	"sync"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A batch is the result of one decode call while it is encoded and written.
type batch struct {
	found   codeccall.Decoded
	out     codeccall.Encoded
	shown   []byte         // the wire passed to the decoder
	lent    codeccall.Loan // the loan that contains shown, if any
	offset  int64          // the position of shown in the stream
	frame   int64          // the number of frames before the batch
	state   []byte         // the decoder's state before the call
	located located        // for reports about payloads that were built
	// origins has the origin of each payload that was gathered from datagrams. It is empty for payloads of a stream.
	origins   []origin
	datagrams []Datagram
	buf       *buffer // the buffer that contains shown, if it is freed with the batch

	// The room for results, in bytes: room for decoding, wireRoom for encoding. Rooms above the smallest (smallRead, and twice
	// that) are charged before the call, and the part that the result does not use is released at once.
	room, wireRoom int
	charge         int64 // for the decoded payloads
	wireCharge     int64 // for the wire that is being encoded and written
}

// An origin says from which datagram a payload comes.
type origin struct {
	datagram int32 // index in batch.datagrams
	payloadPlace
}

// Slices that have grown beyond these sizes, in bytes or elements, are left to the garbage collector instead of the pool.
const (
	keepBytes  = 2 * maxHeapRead
	keepFrames = codecs.MaxPayloads
	// Origins are larger, and few payloads arrive in one batch of datagrams.
	keepOrigins = 1024
)

// perFrame is the size, in bytes, of a frame's entries in tables: a Ref and an end.
const perFrame = 12

var batches = sync.Pool{New: func() any { return new(batch) }}

// newBatch returns a batch with room to decode size bytes of wire, or with less room if it would have to wait for memory.
func newBatch(a *memoryAccount, size int) *batch {
	b := batches.Get().(*batch)
	b.room = smallRead
	if size > smallRead && a.try(int64(size)) {
		b.room, b.charge = size, int64(size)
	}
	return b
}

// free returns the batch to its pool, and releases its buffers, results and charges.
func (b *batch) free(a *memoryAccount) {
	b.found.Return()
	b.out.Return()
	b.buf.free(a)
	a.give(b.charge + b.wireCharge)
	found, out, origins, state := b.found, b.out, b.origins, b.state
	*b = batch{}
	if cap(found.Data) <= keepBytes {
		b.found.Data = found.Data[:0]
	}
	if cap(found.Refs) <= keepFrames {
		b.found.Refs = found.Refs[:0]
	}
	if cap(out.Wire) <= keepBytes {
		b.out.Wire = out.Wire[:0]
	}
	if cap(out.Ends) <= keepFrames {
		b.out.Ends = out.Ends[:0]
	}
	if cap(origins) <= keepOrigins {
		b.origins = origins[:0]
	}
	b.found.State, b.out.State, b.state = found.State[:0], out.State[:0], state[:0]
	b.found.SkippedFaults = found.SkippedFaults[:0]
	batches.Put(b)
}

// result notes the input of the call whose result is in b.found.
func (b *batch) result(r *codecstream.Result) {
	b.shown, b.lent, b.offset, b.frame = r.Wire, r.Lent, r.Offset, r.Frame
	b.state = append(b.state[:0], r.State...)
}

// payloads returns the decoded payloads, for an encoder.
func (b *batch) payloads() codecstream.Payloads {
	return codecstream.Payloads{Wire: b.shown, Data: b.found.Data, Refs: b.found.Refs, Lent: b.lent}
}

// decodeInto provides room bytes for one payload that did not fit. It may wait for memory.
func (b *batch) decodeInto(ctx context.Context, a *memoryAccount, room int) error {
	a.give(b.charge)
	b.charge = 0
	if err := a.acquireToFinish(ctx, int64(room)); err != nil {
		return err
	}
	b.room, b.charge = room, int64(room)
	return nil
}

// decoded changes the charge from the room of a call to the size of its result. It includes large tables: for very many very short
// frames, the tables take more memory than the frames.
func (b *batch) decoded(a *memoryAccount) {
	tables := int64(0)
	if len(b.found.Refs) > 4096 {
		tables = perFrame * int64(len(b.found.Refs))
	}
	built := int64(len(b.found.Data))
	if b.charge == 0 {
		built = 0 // it fits into memory that is already charged
	}
	if more := built + tables - b.charge; more > 0 {
		a.must(more)
	} else {
		a.give(-more)
	}
	b.charge = built + tables
}

// encodeInto provides room for the next call. If wanted is not 0, the room is for one frame of wanted bytes, and encodeInto may wait
// for memory. If wanted is 0 (unknown), the room is about twice the decoded size, or less if encodeInto would have to wait.
func (b *batch) encodeInto(ctx context.Context, a *memoryAccount, wanted int) error {
	b.written(a) // releases the charge of a call that failed
	room := max(2*b.room, wanted)
	switch {
	case room <= 2*smallRead || a.try(int64(room)):
	case wanted > 2*smallRead:
		room = wanted
		if err := a.acquireToFinish(ctx, int64(room)); err != nil {
			return err
		}
	default:
		room = 2 * smallRead
	}
	b.wireRoom, b.wireCharge = room, 0
	if room > 2*smallRead {
		b.wireCharge = int64(room)
	}
	return nil
}

// encoded changes the charge from the room of a call to the size of its result.
func (b *batch) encoded(a *memoryAccount) {
	if b.wireCharge > 0 {
		wire := min(int64(len(b.out.Wire)), b.wireCharge)
		a.give(b.wireCharge - wire)
		b.wireCharge = wire
	}
}

// written releases the charge for the wire.
func (b *batch) written(a *memoryAccount) {
	a.give(b.wireCharge)
	b.wireCharge = 0
}

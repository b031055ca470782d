package relay

import (
	"context"
	"sync"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A batch is what one decode call found, on its way through the encoder.
type batch struct {
	found   codeccall.Decoded
	in      codeccall.Encode
	out     codeccall.Encoded
	shown   []byte         // what the decoder was shown
	lent    codeccall.Loan // what shown lies in, if that is a loan
	offset  int64          // of shown in the stream
	frame   int64          // frames that preceded it
	state   []byte         // of the decoder, before it
	located located        // for reports of payloads that were built
	// origins say of payloads that were gathered from datagrams where each comes from; empty for those of a stream.
	origins   []origin
	datagrams []Datagram
	buf       *buffer // what shown lies in, if that goes back with the batch

	// What results may take: room bytes to decode into, wireRoom to encode into. More than the first of each is charged: it
	// is set aside before a call, and what the result leaves of it goes back at once.
	room, wireRoom int
	charge         int64 // for what was decoded
	wireCharge     int64 // for what is being encoded and written
}

// An origin is where a payload from a datagram comes from.
type origin struct {
	datagram int32 // of datagrams
	place
}

// Slices that have grown beyond these go back to the garbage collector rather than to the pool, in bytes or elements.
const (
	keepBytes  = 2 * floodRead
	keepFrames = codecs.MaxPayloads
	// Origins are larger, and few payloads come in datagrams at once.
	keepOrigins = 1024
)

// perFrame is what a frame costs besides its bytes: a Ref and an end.
const perFrame = 12

var batches = sync.Pool{New: func() any { return new(batch) }}

// newBatch returns a batch with room for what size bytes of wire may decode to, as far as there is memory for that without
// waiting.
func newBatch(a *memoryAccount, size int) *batch {
	b := batches.Get().(*batch)
	b.room = smallRead
	if size > smallRead && a.try(int64(size)) {
		b.room, b.charge = size, int64(size)
	}
	return b
}

// free gives the batch back, and what it holds.
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

// decodeInto sees to room for one payload that did not fit. It waits for memory if it must.
func (b *batch) decodeInto(ctx context.Context, a *memoryAccount, room int) error {
	a.give(b.charge)
	b.charge = 0
	if err := a.takeToFinish(ctx, int64(room)); err != nil {
		return err
	}
	b.room, b.charge = room, int64(room)
	return nil
}

// decoded charges for what a call has found, rather than for what it might have. Tables of very many, very short frames
// cost more than these.
func (b *batch) decoded(a *memoryAccount) {
	tables := int64(0)
	if len(b.found.Refs) > 4096 {
		tables = perFrame * int64(len(b.found.Refs))
	}
	built := int64(len(b.found.Data))
	if b.charge == 0 {
		built = 0 // it fitted into what is paid for anyway
	}
	if more := built + tables - b.charge; more > 0 {
		a.must(more)
	} else {
		a.give(-more)
	}
	b.charge = built + tables
}

// encodeInto sets room aside for the next call: for one frame that takes wanted bytes, waiting for memory if it must; or,
// where that is not known (0), for about twice what was decoded, as far as there is memory without waiting.
func (b *batch) encodeInto(ctx context.Context, a *memoryAccount, wanted int) error {
	room := max(2*b.room, wanted)
	switch {
	case room <= 2*smallRead || a.try(int64(room)):
	case wanted > 2*smallRead:
		room = wanted
		if err := a.takeToFinish(ctx, int64(room)); err != nil {
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

// encoded charges for what a call wrote, rather than for what it might have.
func (b *batch) encoded(a *memoryAccount) {
	if b.wireCharge > 0 {
		wire := min(int64(len(b.out.Wire)), b.wireCharge)
		a.give(b.wireCharge - wire)
		b.wireCharge = wire
	}
}

// written gives back what the wire was charged.
func (b *batch) written(a *memoryAccount) {
	a.give(b.wireCharge)
	b.wireCharge = 0
}

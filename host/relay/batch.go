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

	// What results may take: room bytes to decode into, twice that to encode into. It belongs to the charge of the
	// inbox's buffer, or to charge.
	room   int
	charge int64
	paid   bool // a whole frame is paid for, however long
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

// newBatch returns a batch with room for the results of the size bytes of wire that were paid for, up to most.
func newBatch(size, most int) *batch {
	b := batches.Get().(*batch)
	b.room = min(max(size, smallRead), most)
	return b
}

// free gives the batch back, and what it holds.
func (b *batch) free(m *Memory) {
	b.found.Return()
	b.out.Return()
	b.buf.free(m)
	m.give(b.charge)
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

// provide pays for the room that one result needs which doesn't fit. room is what decoding needs, or half of what
// encoding does; frame is what a whole frame is charged at most.
func (b *batch) provide(ctx context.Context, m *Memory, room int, frame int64) error {
	if b.paid {
		b.room = room
		return nil
	}
	charge := frame
	if room <= baseRead {
		charge = perByte * baseRead
		room = baseRead
	}
	if err := m.take(ctx, charge); err != nil {
		return err
	}
	b.charge += charge
	b.room = room
	b.paid = room > baseRead
	return nil
}

// payFrames pays for the tables of a batch of very many, very short frames.
func (b *batch) payFrames(ctx context.Context, m *Memory) error {
	if len(b.found.Refs) <= 4096 {
		return nil
	}
	charge := perFrame * int64(len(b.found.Refs))
	if err := m.take(ctx, charge); err != nil {
		return err
	}
	b.charge += charge
	return nil
}

package relay

import (
	"context"
	"errors"
	"io"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A streamDecoder turns what one sender's stream brings into batches of payloads. It is for one goroutine, that of its
// owner's reader.
type streamDecoder struct {
	ctx       context.Context // ends with the owner
	owner     decoderOwner
	account   *memoryAccount
	direction Direction
	counts    *counters

	inbox       inbox
	grab        func() []byte
	release     func([]byte)
	decoder     codecstream.Decoder
	batch       *batch // of the call under way
	crumbs      crumbs
	garbage     garbage
	points      int            // what violations cost that were not yet charged
	frameSpent  int64          // nanoseconds spent reading for the frame that is unfinished
	kept        io.WriteCloser // where dropped bytes are kept; nil: nowhere
	keptTo      int64          // the position in the stream up to which they were
	longestFrom int            // bytes of the longest payload from the sender
}

// A decoderOwner is what has a streamDecoder: a flow of a session, or a member of a hub. Every error of its methods is errOver,
// and means that the owner is over.
type decoderOwner interface {
	// deliver takes b, with payloads or without, and frees it. last says that nothing else is decoded before more
	// arrives.
	deliver(b *batch, last bool) error
	// wait returns when what was handed over needs no memory of the streamDecoder any more.
	wait()
	over() bool
	skips() bool
	keeper() *keeper
	// senderLost ends the owner and returns errOver if the sender's connection is known to be broken, even if bytes that came
	// before are unread.
	senderLost() error
	// fail and codecFailed end the owner and return errOver.
	fail(reason Reason, err error) error
	codecFailed(call string, err error) error
}

func (r *streamDecoder) begin(ctx context.Context, owner decoderOwner, a *memoryAccount, d Direction, counts *counters) {
	*r = streamDecoder{ctx: ctx, owner: owner, account: a, direction: d, counts: counts}
	r.inbox = inbox{account: a, most: baseRead, beforeWaiting: owner.wait}
	r.grab, r.release = r.inbox.grab, r.inbox.release
}

// expect prepares for frames of codec.
func (r *streamDecoder) expect(codec codeccall.Codec) {
	properties := codec.Properties()
	r.longestFrom = properties.MaxFrame
	r.inbox.lender, _ = codec.(codeccall.Lender)
	r.inbox.most = max(baseRead, properties.MaxWire+1) // one byte more than a frame can have shows that it is too long
}

// decodeAll decodes what is in the inbox, and hands payloads over to be encoded. With eof it goes on until nothing is
// left. An error means that the owner is over.
func (r *streamDecoder) decodeAll(eof bool) error {
	err := r.decoder.Decode(r.ctx, &r.inbox, r, eof)
	if r.batch != nil { // its call failed
		r.batch.free(r.account)
		r.batch = nil
	}
	switch {
	case err == nil:
		err = r.rest()
	case !errors.Is(err, errOver):
		r.owner.wait() // what came before shall arrive
		err = r.owner.codecFailed("decode", err)
	}
	switch flusher, ok := r.kept.(interface{ Flush() error }); {
	case err != nil || eof || !r.decoder.Dropping() && len(r.decoder.State()) == 0:
		r.keepNoMore()
	case ok:
		_ = flusher.Flush() // its errors are its own affair
	}
	return err
}

// Prepare sees to room for the result of a call.
func (r *streamDecoder) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	if err := r.rest(); err != nil {
		return nil, err
	}
	b := newBatch(r.account, len(in.Wire))
	if in.RoomNeeded > b.room {
		r.owner.wait() // what is being written holds memory, and shall arrive whatever comes of this
		if err := b.decodeInto(r.ctx, r.account, in.RoomNeeded); err != nil {
			b.free(r.account)
			return nil, r.owner.fail(MemoryShort, err)
		}
	}
	in.Room, in.Lent, in.Borrow = b.room, r.inbox.lent(), true
	in.Patient = !in.EOF && r.crumbs.patient()
	if r.owner.skips() {
		in.Skips = codeccall.MaxSkips
	}
	r.batch = b
	return &b.found, nil
}

// Found counts and reports what a call found, and hands its payloads over.
func (r *streamDecoder) Found(result *codecstream.Result) error {
	b := r.batch
	r.batch = nil
	b.decoded(r.account)
	b.result(result)
	r.points += pointsOf(&b.found)
	r.crumbs.found(len(b.found.Refs) + b.found.Skipped)
	if n := b.found.Dropped; n > 0 {
		r.skip(b.shown[:n])
	}
	payloads, dropped := len(b.found.Refs), b.found.Dropped // after the last that was skipped, and up to it
	for i := range b.found.SkippedFaults {
		f := result.SkippedFault(i)
		r.skipped(&f)
		payloads, dropped = len(b.found.Refs)-b.found.SkippedFaults[i].Payloads, f.Offset+len(f.Dropped)
	}
	r.keptFor(payloads, b.found.Consumed, dropped, b.found.Fault != nil)
	if b.found.Consumed > 0 {
		r.frameSpent = 0
	}
	bytes := int64(0)
	for _, ref := range b.found.Refs {
		bytes += int64(ref.Len)
	}
	r.counts.framesIn.Add(int64(len(b.found.Refs)))
	r.counts.payloadBytes.Add(bytes)
	r.counts.empties.Add(int64(b.found.Skipped))
	return r.owner.deliver(b, result.Last)
}

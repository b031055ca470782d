package relay

import (
	"context"
	"errors"
	"io"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A streamDecoder decodes the stream of one sender into batches of payloads. Only the goroutine of its owner's reader uses it.
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
	fragments   fragments
	garbage     garbage
	points      int            // the cost of violations that were not charged yet
	frameSpent  int64          // nanoseconds spent reading for the unfinished frame
	kept        io.WriteCloser // the writer for dropped bytes; nil: there is none
	keptTo      int64          // the position in the stream after the last byte written to kept
	longestFrom int            // the sender's longest payload, in bytes
}

// A decoderOwner owns a streamDecoder: it is a flow of a session, or a member of a hub. All errors of its methods are errOver, and
// mean that the owner is over.
type decoderOwner interface {
	// deliver takes ownership of b, which may have no payloads, and frees it. last says that nothing more is decoded before
	// more bytes arrive.
	deliver(b *batch, last bool) error
	// wait returns when delivered batches no longer use memory of the streamDecoder.
	wait()
	over() bool
	skips() bool
	keeper() *keeper
	// senderLost ends the owner and returns errOver if the sender's connection is known to be broken, even if bytes that
	// arrived before are unread.
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

// expect prepares the decoder for frames of codec.
func (r *streamDecoder) expect(codec codeccall.Codec) {
	properties := codec.Properties()
	r.longestFrom = properties.MaxFrame
	r.inbox.lender, _ = codec.(codeccall.Lender)
	r.inbox.most = max(baseRead, properties.MaxWire+1) // one byte more than the longest frame shows that a frame is too long
}

// decodeAll decodes the bytes in the inbox, and delivers the payloads to the owner. With eof it goes on until the inbox is empty. An
// error means that the owner is over.
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
		r.owner.wait() // payloads decoded before the error are written first
		err = r.owner.codecFailed("decode", err)
	}
	switch flusher, ok := r.kept.(interface{ Flush() error }); {
	case err != nil || eof || !r.decoder.Dropping() && len(r.decoder.State()) == 0:
		r.keepNoMore()
	case ok:
		_ = flusher.Flush() // see Config.Quarantine for its errors
	}
	return err
}

// Prepare provides room for the result of a call.
func (r *streamDecoder) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	if err := r.rest(); err != nil {
		return nil, err
	}
	b := newBatch(r.account, len(in.Wire))
	if in.RoomNeeded > b.room {
		r.owner.wait() // the batch being written holds memory, and is to arrive even if the next line fails
		if err := b.decodeInto(r.ctx, r.account, in.RoomNeeded); err != nil {
			b.free(r.account)
			return nil, r.owner.fail(MemoryShort, err)
		}
	}
	in.Room, in.Lent, in.Borrow = b.room, r.inbox.lent(), true
	in.Patient = !in.EOF && r.fragments.patient()
	if r.owner.skips() {
		in.Skips = codeccall.MaxSkips
	}
	r.batch = b
	return &b.found, nil
}

// Found counts and reports the result of a call, and delivers its payloads to the owner.
func (r *streamDecoder) Found(result *codecstream.Result) error {
	b := r.batch
	r.batch = nil
	b.decoded(r.account)
	b.result(result)
	r.points += pointsOf(&b.found)
	r.fragments.found(len(b.found.Refs) + b.found.Skipped)
	if n := b.found.Dropped; n > 0 {
		r.skip(b.shown[:n])
	}
	payloads, dropped := len(b.found.Refs), b.found.Dropped // payloads after the last skipped fault, and bytes up to its end
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

package relay

import (
	"context"
	"io"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A reception turns what one sender's stream brings into batches of payloads. It is for one goroutine, that of its
// owner's reader.
type reception struct {
	ctx       context.Context // ends with the owner
	owner     receptionOwner
	account   *memoryAccount
	direction Direction
	counts    *counters

	inbox       inbox
	grab        func() []byte
	release     func([]byte)
	decoder     codeccall.Direction
	decode      codeccall.Decode
	state       []byte
	crumbs      crumbs
	garbage     garbage
	offset      int64          // in the stream, of the first byte in the inbox
	need        int            // fewer bytes in the inbox than these can't be decoded
	frameSpent  int64          // nanoseconds spent reading for the frame that is unfinished
	discard     int64          // bytes still to be dropped after a violation
	kept        io.WriteCloser // where dropped bytes are kept; nil: nowhere
	keptTo      int64          // the position in the stream up to which they were
	longestFrom int            // bytes of the longest payload from the sender
}

// A receptionOwner is what has a reception: a flow of a session, or a member of a hub.
type receptionOwner interface {
	// handOver takes b, with payloads or without, and frees it. last says that nothing else is decoded before more
	// arrives. An error means that the owner is over.
	handOver(b *batch, last bool) error
	// wait returns when what was handed over needs no memory of the reception any more.
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

func (r *reception) begin(ctx context.Context, owner receptionOwner, a *memoryAccount, d Direction, counts *counters) {
	*r = reception{ctx: ctx, owner: owner, account: a, direction: d, counts: counts}
	r.inbox = inbox{account: a, most: baseRead, beforeWaiting: owner.wait}
	r.grab, r.release = r.inbox.grab, r.inbox.release
}

// expect prepares for frames of codec.
func (r *reception) expect(codec codeccall.Codec) {
	properties := codec.Properties()
	r.longestFrom = properties.MaxFrame
	r.inbox.lender, _ = codec.(codeccall.Lender)
	r.inbox.most = max(baseRead, properties.MaxWire+1) // one byte more than a frame can have shows that it is too long
}

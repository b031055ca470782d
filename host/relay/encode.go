package relay

import (
	"context"
	"errors"
	"sort"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// encodeAll encodes the payloads of b and writes their frames. The caller holds the turn. An error means that the session is over.
func (f *flow) encodeAll(b *batch) error {
	f.frames.batch = b
	payloads := b.payloads()
	done, err := f.encoder.Encode(f.session.ctx, &payloads, &f.frames)
	f.lose(b.found.Refs[done:])
	return f.encodingFailed(err)
}

// encodeEnd encodes and writes the end of the stream.
func (f *flow) encodeEnd() error {
	b := newBatch(f.account, 0)
	defer b.free(f.account)
	f.frames.batch = b
	_, err := f.encoder.End(f.session.ctx, &codecstream.Payloads{}, &f.frames)
	return f.encodingFailed(err)
}

// encodingFailed ends the session if err is an error of encoding, and then returns errOver. It returns nil if err is nil.
func (f *flow) encodingFailed(err error) error {
	f.frames.batch = nil
	if err == nil || errors.Is(err, errOver) {
		return err
	}
	return f.codecFailed("encode", err)
}

// sessionFrames writes the encoded frames of a session's flow. All its errors are errOver.
type sessionFrames struct {
	flow  *flow
	batch *batch // the batch that is being encoded
}

// Prepare provides room for the result of a call.
func (s *sessionFrames) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	f, b := s.flow, s.batch
	if err := b.encodeInto(f.session.ctx, f.account, in.RoomNeeded); err != nil {
		return nil, f.fail(MemoryShort, err)
	}
	in.Room, in.Borrow = b.wireRoom, true
	return &b.out, nil
}

// Frames writes the result of a call.
func (s *sessionFrames) Frames(out *codeccall.Encoded, _ int) (done int, err error) {
	f, b := s.flow, s.batch
	b.encoded(f.account)
	defer b.written(f.account)
	n, err := f.to.write(out.Wire)
	out.Return()
	ends := out.Ends
	if err != nil {
		ends = ends[:sort.Search(len(ends), func(i int) bool { return int(ends[i]) > n })]
	}
	f.counts.frames(ends)
	return len(ends), err
}

// Refused reports a payload that the receiver's framing can't carry.
func (s *sessionFrames) Refused(index int, fault *codecs.Fault) error {
	return s.flow.cannotCarry(s.batch, index, fault)
}

// frames counts the frames that end at ends. A frame of no bytes is an empty payload that the codec dropped.
func (c *counters) frames(ends []uint32) {
	empty, last := 0, uint32(0)
	for _, end := range ends {
		if end == last {
			empty++
		}
		last = end
	}
	c.framesOut.Add(int64(len(ends) - empty))
	c.empties.Add(int64(empty))
}

// cannotCarry reports payload index of b, which the receiver's framing refused. Unless the policy is to skip it, cannotCarry ends the
// session and returns errOver.
func (f *flow) cannotCarry(b *batch, index int, fault *codecs.Fault) error {
	f.counts.unrepresentable.Add(1)
	v, payload := b.unrepresentable(f.session.ctx, f.sender.Codec, f.direction, index, fault)
	v.limit(f.longestTo)
	v.show(payload, fault.At, f.session.keeper.wireBytes)
	v.Skipped = f.skips()
	f.session.keeper.whole(v, payload)
	if !v.Skipped {
		return f.fail(Unrepresentable, v)
	}
	return nil
}

// unrepresentable describes a payload of b that the receiver's framing can't carry. codec decoded b.
func (b *batch) unrepresentable(ctx context.Context, codec codeccall.Codec, d Direction, index int, fault *codecs.Fault) (
	v *Violation, payload []byte) {
	payload = b.payload(index)
	v = &Violation{
		Direction: d, Payload: true, PayloadAt: int64(fault.At), Frame: b.frame + int64(index), Err: fault.Err, Want: fault.Want,
	}
	if errors.Is(fault.Err, codecs.ErrTooLong) {
		v.Announced = uint64(len(payload))
	}
	if len(b.origins) > 0 {
		from := &b.origins[index]
		v.Source, v.Offset, v.Built = b.datagrams[from.datagram].Source, int64(from.at), from.built
	} else {
		v.Offset, v.Built = b.begin(ctx, codec, index)
	}
	v.At = v.Offset
	if !v.Built {
		v.At += v.PayloadAt
	}
	return v, payload
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// encodeAll encodes the payloads of b and writes their frames. The caller has the turn. An error means that the
// session is over.
func (f *flow) encodeAll(b *batch) error {
	refs := b.found.Refs
	for len(refs) > 0 {
		fits := fitting(refs, f.longestFrom, f.longestTo)
		fault := (*codecs.Fault)(nil)
		if fits > 0 {
			b.in.Refs = refs[:fits]
			if written, err := f.encodeOnce(b); err != nil {
				f.lose(refs[written:])
				return err
			}
			fits -= b.out.Taken()
			refs, fault = refs[b.out.Taken():], b.out.Fault
		}
		if fault == nil && fits == 0 && len(refs) > 0 {
			fault = tooLongFor(f.longestTo)
		}
		if fault == nil {
			continue
		}
		if err := f.cannotCarry(b, len(b.found.Refs)-len(refs), fault); err != nil {
			f.lose(refs)
			return err
		}
		refs = refs[1:]
	}
	return nil
}

// fitting returns how many payloads precede the first that is longer than to, the receiver's limit; none is longer than
// from. Encoders do not know of that limit.
func fitting(refs []codecs.Ref, from, to int) int {
	if from <= to {
		return len(refs)
	}
	for i, r := range refs {
		if int(r.Len) > to {
			return i
		}
	}
	return len(refs)
}

// tooLongFor is the fault of a payload that is longer than the receiver's limit.
func tooLongFor(longest int) *codecs.Fault {
	return &codecs.Fault{At: longest, Err: codecs.ErrTooLong, Want: fmt.Sprintf("a payload of at most %d bytes", longest)}
}

// encodeEnd lets the codec write what ends a stream.
func (f *flow) encodeEnd() error {
	b := newBatch(f.account, 0)
	defer b.free(f.account)
	b.in.EOF = true
	for {
		if _, err := f.encodeOnce(b); err != nil || !b.out.More {
			return err
		}
	}
}

// encodeOnce makes one call and writes its result. With an error it returns how many payloads were written all the same.
func (f *flow) encodeOnce(b *batch) (written int, err error) {
	wanted := 0
	if b.out.More && len(b.out.Ends) == 0 {
		wanted = b.out.RoomNeeded
	}
	if err := b.encodeInto(f.session.ctx, f.account, wanted); err != nil {
		return 0, f.fail(MemoryShort, err)
	}
	defer b.written(f.account)
	b.in.Wire, b.in.Data, b.in.State = b.shown, b.found.Data, f.encodeState
	b.in.Room, b.in.RoomNeeded, b.in.Lent, b.in.Borrow = b.wireRoom, b.out.RoomNeeded, b.lent, true
	if err := f.encoder.Encode(f.session.ctx, &b.in, &b.out); err != nil {
		return 0, f.codecFailed("encode", err)
	}
	b.encoded(f.account)
	f.encodeState = append(f.encodeState[:0], b.out.State...)
	n, err := f.write(b.out.Wire)
	ends := b.out.Ends
	if err != nil {
		ends = ends[:sort.Search(len(ends), func(i int) bool { return int(ends[i]) > n })]
	}
	f.counts.frames(ends)
	return len(ends), err
}

// frames counts the frames that end at ends; one of no bytes is an empty payload that was dropped.
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

// cannotCarry deals with payload index of b, which the receiver's framing refused.
func (f *flow) cannotCarry(b *batch, index int, fault *codecs.Fault) error {
	f.counts.unrepresentable.Add(1)
	v, payload := b.unrepresentable(f.session.ctx, f.from.Codec, f.direction, index, fault)
	v.limit(f.longestTo)
	v.show(payload, fault.At, f.session.keeper.wireBytes)
	v.Skipped = f.skips()
	f.session.keeper.whole(v, payload)
	if !v.Skipped {
		return f.fail(Unrepresentable, v)
	}
	return nil
}

// unrepresentable describes a payload of b, which came through codec, that the receiver's framing can't carry.
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

package codectest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A writer encodes one stream as a host does that leaves out what can't be represented: it hands over batches, again
// with what was not taken, gives more room where it is asked for, and says once that nothing follows.
type writer struct {
	ctx        context.Context
	direction  codeccall.Direction
	properties codeccall.Properties

	room  int // bytes that may be written; more when it is needed, for one call
	watch func(in *codeccall.Encode, out *codeccall.Encoded) error

	state  []byte
	needed int // the room without which the last call could do nothing; 0: it did something
	got    encoding
}

// An encoding is what a stream of payloads became.
type encoding struct {
	wire  []byte
	taken []taken // one for each payload handed over
}

// taken is what became of one payload.
type taken struct {
	payload string
	end     int           // where its frame ends in the wire
	fault   *codecs.Fault // refused
	skipped bool          // nothing was written for it
}

// write hands over payloads, in one batch, and with eof that nothing follows them.
// Its error is the codec's failure, not a payload refused.
func (w *writer) write(payloads []string, eof bool) error {
	for {
		in := batchOf(payloads)
		in.EOF, in.State, in.Room = eof, w.state, max(w.room, w.needed)
		in.RoomNeeded = w.needed
		done, n, err := w.call(&in, payloads)
		if err != nil {
			return fmt.Errorf("encode of %s (eof %t, state %q): %w", quoteAll(payloads), eof, w.state, err)
		}
		payloads = payloads[n:]
		if done || len(payloads) == 0 && !eof {
			return nil
		}
	}
}

// call makes one call, and returns how many of the payloads it dealt with and whether nothing is left to call for.
func (w *writer) call(in *codeccall.Encode, payloads []string) (done bool, n int, err error) {
	wire, data, state := bytes.Clone(in.Wire), bytes.Clone(in.Data), bytes.Clone(in.State)
	in.State = bytes.Clone(state)
	var out codeccall.Encoded
	if err := w.direction.Encode(w.ctx, in, &out); err != nil {
		return false, 0, err
	}
	if !bytes.Equal(wire, in.Wire) || !bytes.Equal(data, in.Data) || !bytes.Equal(state, in.State) {
		return false, 0, errors.New("the payloads or the state it was given were changed")
	}
	if err := in.Check(&w.properties, &out); err != nil {
		return false, 0, err
	}
	if w.watch != nil {
		if err := w.watch(in, &out); err != nil {
			return false, 0, err
		}
	}

	base, last := len(w.got.wire), 0
	for i, end := range out.Ends {
		w.got.taken = append(w.got.taken, taken{payload: payloads[i], end: base + int(end), skipped: int(end) == last})
		last = int(end)
	}
	w.got.wire = append(w.got.wire, out.Wire...)
	w.state = append(w.state[:0], out.State...)
	n = out.Taken()

	switch {
	case out.Fault != nil:
		w.got.taken = append(w.got.taken, taken{payload: payloads[n], end: len(w.got.wire), fault: out.Fault})
		n++
	case !out.More:
		w.needed = 0
		return true, n, nil
	case n == 0 && len(out.Wire) == 0:
		if w.needed > 0 {
			return false, 0, fmt.Errorf("room for %d bytes was said to be enough, now %d are needed", w.needed, out.RoomNeeded)
		}
		w.needed = out.RoomNeeded
		return false, 0, nil
	}
	w.needed = 0
	return false, n, nil
}

// batchOf puts payloads where a host has them: some in received wire, some behind it.
func batchOf(payloads []string) codeccall.Encode {
	var in codeccall.Encode
	for i, p := range payloads {
		if i%2 == 0 {
			in.Wire = append(in.Wire, p...)
		} else {
			in.Data = append(in.Data, p...)
		}
	}
	inWire, inData := 0, len(in.Wire)
	for i, p := range payloads {
		at := &inWire
		if i%2 == 1 {
			at = &inData
		}
		in.Refs = append(in.Refs, codecs.Ref{Off: uint32(*at), Len: uint32(len(p))})
		*at += len(p)
	}
	return in
}

// payloads returns those that were written.
func (e *encoding) payloads() []string {
	var list []string
	for _, t := range e.taken {
		if t.fault == nil && !t.skipped {
			list = append(list, t.payload)
		}
	}
	return list
}

// whole returns how many frames end within the first n bytes of the wire.
func (e *encoding) whole(n int) int {
	count := 0
	for _, t := range e.taken {
		if t.fault == nil && !t.skipped && t.end <= n {
			count++
		}
	}
	return count
}

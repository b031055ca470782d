package codectest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A writer encodes one stream with the driver that hosts use, and leaves out payloads that can't be represented. It makes
// every call of the driver, and checks every result.
type writer struct {
	ctx        context.Context
	direction  codeccall.Direction
	properties codeccall.Properties

	room  int // bytes that may be written; a call that needs more gets more
	watch func(in *codeccall.Encode, out *codeccall.Encoded) error

	encoder codecstream.Encoder
	handed  []string // the payloads of the current batch
	got     encoding
}

func newWriter(ctx context.Context, d codeccall.Direction, p codeccall.Properties) *writer {
	w := &writer{ctx: ctx, direction: d, properties: p, room: room}
	w.encoder.Direction = writerCalls{d, w}
	return w
}

// An encoding is the wire of a stream of payloads.
type encoding struct {
	wire  []byte
	taken []taken // one for each payload handed over
}

// taken is the result for one payload.
type taken struct {
	payload string
	end     int           // where its frame ends in the wire
	fault   *codecs.Fault // why it was refused; nil: it was not
	skipped bool          // nothing was written for it
}

// write encodes payloads in one batch, and with eof ends the stream. Its error is a failure of the codec; refused payloads
// are not errors.
func (w *writer) write(payloads []string, eof bool) error {
	w.handed = payloads
	batch := batchOf(payloads)
	encode := w.encoder.Encode
	if eof {
		encode = w.encoder.End
	}
	_, err := encode(w.ctx, &batch, w)
	return err
}

// Prepare sets the room of a call.
func (w *writer) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	in.Room = max(w.room, in.RoomNeeded)
	return new(codeccall.Encoded), nil
}

// Frames records the result of a call.
func (w *writer) Frames(out *codeccall.Encoded, first int) (done int, err error) {
	base, last := len(w.got.wire), 0
	for i, end := range out.Ends {
		w.got.taken = append(w.got.taken, taken{payload: w.handed[first+i], end: base + int(end), skipped: int(end) == last})
		last = int(end)
	}
	w.got.wire = append(w.got.wire, out.Wire...)
	return out.Taken(), nil
}

// Refused records a payload that was refused.
func (w *writer) Refused(index int, fault *codecs.Fault) error {
	w.got.taken = append(w.got.taken, taken{payload: w.handed[index], end: len(w.got.wire), fault: fault})
	return nil
}

// writerCalls makes the calls of a writer's driver.
type writerCalls struct {
	codeccall.Direction
	writer *writer
}

// Encode makes a call and checks its result.
func (c writerCalls) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	w := c.writer
	wire, data, state := bytes.Clone(in.Wire), bytes.Clone(in.Data), bytes.Clone(in.State)
	err := c.Direction.Encode(ctx, in, out)
	if err == nil && (!bytes.Equal(wire, in.Wire) || !bytes.Equal(data, in.Data) || !bytes.Equal(state, in.State)) {
		err = errors.New("the payloads or the state it was given were changed")
	}
	if err == nil {
		err = in.Check(&w.properties, out)
	}
	if err == nil && w.watch != nil {
		err = w.watch(in, out)
	}
	if err != nil {
		return fmt.Errorf("encode of %s (eof %t, state %q): %w", quoteAll(w.handed[len(w.handed)-len(in.Refs):]), in.EOF, in.State, err)
	}
	return nil
}

// batchOf places payloads as a host does: some in received wire, some in built data after it.
func batchOf(payloads []string) codecstream.Payloads {
	var in codecstream.Payloads
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

// payloads returns the payloads that were written.
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

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

// A reader decodes one stream with the driver that hosts use, and goes on after faults where they say. It makes every call
// of the driver, and checks every result.
type reader struct {
	ctx        context.Context
	direction  codeccall.Direction
	properties codeccall.Properties

	room   int  // bytes of payloads that may be built; a call that needs more gets more
	forget bool // sets Examined to 0, as a host does when it repeats a call in another process
	skips  int  // how many faults may be skipped in a call
	// watch sees each call with its result, before the result takes effect.
	watch func(in *codeccall.Decode, out *codeccall.Decoded) error

	decoder codecstream.Decoder
	wire    []byte           // received and not consumed
	call    codeccall.Decode // the last call
	asked   int              // bytes of wire shown to the last call that found nothing and declared a need
	ended   bool
	got     transcript
}

func newReader(ctx context.Context, d codeccall.Direction, p codeccall.Properties) *reader {
	r := &reader{ctx: ctx, direction: d, properties: p, room: room}
	r.decoder.Direction = readerCalls{d, r}
	return r
}

// fork returns an independent reader in the same state.
func (r *reader) fork() *reader {
	f := *r
	f.wire, f.got = bytes.Clone(r.wire), r.got.clone()
	f.decoder = *r.decoder.Fork()
	f.decoder.Direction = readerCalls{r.direction, &f}
	return &f
}

// feed shows the bytes that arrived, and with eof the end of the stream. Its error is a failure of the codec; faults are not
// errors.
func (r *reader) feed(arrived []byte, eof bool) error {
	if r.ended {
		return nil
	}
	r.wire = append(r.wire, arrived...)
	err := r.decoder.Decode(r.ctx, r, r, eof)
	r.ended = r.ended || eof
	return err
}

// Bytes returns the bytes that were received and not consumed.
func (r *reader) Bytes() []byte { return r.wire }

// Consume drops the first n of those bytes.
func (r *reader) Consume(n int) { r.wire = r.wire[n:] }

// Prepare sets the room of a call.
func (r *reader) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	in.Room, in.Skips = max(r.room, in.RoomNeeded), r.skips
	return new(codeccall.Decoded), nil
}

// Found records the result of a call.
func (r *reader) Found(result *codecstream.Result) error {
	begin := int(result.Offset)
	next := 0 // index of the next skipped fault
	for i := range len(result.Refs) + 1 {
		for ; next < len(result.SkippedFaults) && result.SkippedFaults[next].Payloads == i; next++ {
			f := &result.SkippedFaults[next]
			r.got.fault(&f.Fault, begin)
			r.got.dropped += f.Dropped
		}
		if i < len(result.Refs) {
			r.got.payload(result.Payload(i))
		}
	}
	r.got.skipped += result.Skipped
	r.got.dropped += result.Dropped
	r.asked = len(r.wire)
	return nil
}

// Fault records a fault.
func (r *reader) Fault(f *codecstream.Fault) (goOn bool, err error) {
	r.got.fault(f.Fault, int(f.Begin))
	r.ended = f.Final
	return !f.Final, nil
}

// Drop does nothing: the recorded fault says which bytes are dropped.
func (r *reader) Drop([]byte) {}

// readerCalls makes the calls of a reader's driver.
type readerCalls struct {
	codeccall.Direction
	reader *reader
}

// Decode makes a call and checks its result.
func (c readerCalls) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	r := c.reader
	r.call = *in
	if r.forget {
		r.call.Examined = 0
	}
	if err := r.checkNeed(ctx); err != nil {
		return err
	}
	err := untouched(&r.call, func() error { return c.Direction.Decode(ctx, &r.call, out) })
	if err == nil {
		err = r.call.Check(&r.properties, out)
	}
	if err == nil && r.watch != nil {
		err = r.watch(&r.call, out)
	}
	if err != nil {
		return fmt.Errorf("decode of %s from offset %d (examined %d, eof %t, state %q): %w",
			quote(in.Wire), r.decoder.Offset(), r.call.Examined, in.EOF, in.State, err)
	}
	if f := out.Fault; f != nil && f.At < in.Need-1 && !errors.Is(f.Err, codecs.ErrTruncated) && *f != *r.properties.TooLong(f.Offset) {
		return fmt.Errorf("decode of %s from offset %d: got %s after the answer that it needs %d bytes, "+
			"want a fault as soon as it is certain", quote(in.Wire), r.decoder.Offset(), describe(f), in.Need)
	}
	return nil
}

// checkNeed checks that the codec finds nothing in fewer bytes than it has declared as its need. It shows one byte less,
// which a host never does, before the call that shows as many, or all bytes that have arrived by the end of the stream.
func (r *reader) checkNeed(ctx context.Context) error {
	in := r.call
	few := min(in.Need-1, len(in.Wire))
	if few <= r.asked {
		return nil
	}
	r.asked = few
	in.Wire, in.EOF, in.Skips, in.Need, in.RoomNeeded = in.Wire[:few], false, 0, 0, 0
	var out codeccall.Decoded
	err := untouched(&in, func() error { return r.direction.Decode(ctx, &in, &out) })
	if err == nil {
		err = in.Check(&r.properties, &out)
	}
	if err != nil {
		return fmt.Errorf("decode of %s from offset %d (fewer bytes than the %d it needs): %w",
			quote(in.Wire), r.decoder.Offset(), r.call.Need, err)
	}
	if len(out.Refs) > 0 || out.Consumed > 0 || out.Fault != nil || out.More {
		return fmt.Errorf("decode of %s from offset %d: got %s in %d bytes after the answer that it needs %d, "+
			"want a need below which nothing is found (see Payloads.SetNeed): a host waits for that many bytes",
			quote(in.Wire), r.decoder.Offset(), found(&in, &out), few, r.call.Need)
	}
	r.call.Left = few
	return nil
}

// found prints the payloads and faults of a result.
func found(in *codeccall.Decode, out *codeccall.Decoded) string {
	var got transcript
	batch := codecs.Batch{Wire: in.Wire, Data: out.Data, Refs: out.Refs}
	for i := range out.Refs {
		got.payload(batch.At(i))
	}
	if out.Fault != nil {
		got.fault(out.Fault, 0)
	}
	return fmt.Sprintf("%v and %d bytes consumed", &got, out.Consumed)
}

// untouched makes a call whose argument is in, and fails if the call changed the argument's bytes, or the bytes after them
// that belong to the caller.
func untouched(in *codeccall.Decode, call func() error) error {
	const behind = "\xa5\xa5\xa5\xa5"
	memory := append(bytes.Clone(in.Wire), behind...)
	wire, state := memory[:len(in.Wire)], bytes.Clone(in.State)
	shown := *in
	in.Wire, in.State = wire, state
	err := call()
	switch {
	case err != nil:
		return err
	case !bytes.Equal(wire, shown.Wire):
		return fmt.Errorf("the wire it was shown was changed to %s", quote(wire))
	case string(memory[len(wire):]) != behind:
		return errors.New("memory after the wire it was shown was changed")
	case !bytes.Equal(state, shown.State):
		return fmt.Errorf("the state it was given was changed to %q", state)
	}
	return nil
}

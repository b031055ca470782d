package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// payloads is a batch of payloads to be encoded. The zero value is empty.
type payloads struct {
	data []byte
	refs []codecs.Ref
}

func (p *payloads) add(payload []byte) {
	p.refs = append(p.refs, codecs.Ref{Off: uint32(len(p.data)), Len: uint32(len(payload))})
	p.data = append(p.data, payload...)
}

func (p *payloads) reset() { p.data, p.refs = p.data[:0], p.refs[:0] }

// full reports whether the batch is large enough to be encoded.
func (p *payloads) full() bool { return len(p.data) >= readSize || len(p.refs) == codecs.MaxPayloads }

// A frameWriter encodes payloads as the frames of one stream. The caller closes it.
type frameWriter struct {
	out     io.Writer
	encoder codecstream.Encoder
	result  codeccall.Encoded
	batch   codecstream.Payloads // the batch that is being encoded
	done    int64                // number of payloads in the batches before
}

func newFrameWriter(out io.Writer, codec codeccall.Codec) *frameWriter {
	return &frameWriter{out: out, encoder: codecstream.Encoder{Direction: codec.Open(), MaxFrame: codec.Properties().MaxFrame}}
}

func (w *frameWriter) close() { w.encoder.Direction.Close() }

// write writes the frames of p. If a payload can't be encoded, write returns a *payloadFault, after it has written the frames of the
// payloads before it.
func (w *frameWriter) write(ctx context.Context, p *payloads) error {
	w.batch = codecstream.Payloads{Data: p.data, Refs: p.refs}
	done, err := w.encoder.Encode(ctx, &w.batch, w)
	w.done += int64(done)
	return err
}

// end writes the end of the stream. Nothing is written after it.
func (w *frameWriter) end(ctx context.Context) error {
	w.batch = codecstream.Payloads{}
	_, err := w.encoder.End(ctx, &w.batch, w)
	return err
}

// Prepare gives a call as much room as it needs.
func (w *frameWriter) Prepare(in *codeccall.Encode) (*codeccall.Encoded, error) {
	in.Room = max(2*readSize, in.RoomNeeded)
	return &w.result, nil
}

// Frames writes the result of a call.
func (w *frameWriter) Frames(out *codeccall.Encoded, _ int) (done int, err error) {
	_, err = w.out.Write(out.Wire)
	return 0, err
}

// Refused returns the *payloadFault of a payload.
func (w *frameWriter) Refused(index int, fault *codecs.Fault) error {
	in := codeccall.Encode{Data: w.batch.Data, Refs: w.batch.Refs}
	return &payloadFault{
		Index: w.done + int64(index), At: fault.At, Err: fault.Err, Want: fault.Want,
		Got: bytesAt(in.At(index), fault.At, "the payload's end"),
	}
}

// A payloadFault says which payload a framing can't carry.
type payloadFault struct { //nolint:errname // the word for it everywhere
	Index int64 // of the payload in its stream, from 0
	At    int   // index of the byte in the payload that shows the fault
	Err   error // codecs.ErrUnrepresentable or ErrTooLong
	Want  string
	Got   string // the bytes at At, in hex
}

func (f *payloadFault) Error() string {
	return fmt.Sprintf("%v: byte %d: got %s, want %s", f.Err, f.At, f.Got, f.Want)
}

func (f *payloadFault) Unwrap() error { return f.Err }

// faultyOrFailed returns err, an error of encoding or decoding, with its exit code: that of a fault in the bytes, or else that of a failure
// while running. what returns a description of the encoded or decoded item from its index.
func faultyOrFailed(err error, what func(index int64) string) error {
	var payload *payloadFault
	switch wire := (*wireFault)(nil); {
	case errors.As(err, &payload):
		return faulty(fmt.Errorf("%s: %w", what(payload.Index), err))
	case errors.As(err, &wire):
		return faulty(err)
	default:
		return failed(err)
	}
}

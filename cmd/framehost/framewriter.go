package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// payloads are a batch to be encoded. The zero value has none.
type payloads struct {
	data []byte
	refs []codecs.Ref
}

func (p *payloads) add(payload []byte) {
	p.refs = append(p.refs, codecs.Ref{Off: uint32(len(p.data)), Len: uint32(len(payload))})
	p.data = append(p.data, payload...)
}

func (p *payloads) reset() { p.data, p.refs = p.data[:0], p.refs[:0] }

// full says that a batch is large enough to be encoded.
func (p *payloads) full() bool { return len(p.data) >= readSize || len(p.refs) == codecs.MaxPayloads }

// A frameWriter encodes payloads as the frames of one stream. The caller closes it.
type frameWriter struct {
	out        io.Writer
	direction  codeccall.Direction
	properties codeccall.Properties
	state      []byte
	result     codeccall.Encoded
	done       int64 // payloads encoded so far
}

func newFrameWriter(out io.Writer, codec codeccall.Codec) *frameWriter {
	return &frameWriter{out: out, direction: codec.Open(), properties: codec.Properties()}
}

func (w *frameWriter) close() { w.direction.Close() }

// write writes the frames of p. A payload that can't be encoded comes as a *payloadFault, after the frames of those in
// front of it were written.
func (w *frameWriter) write(ctx context.Context, p *payloads) error {
	for refs := p.refs; len(refs) > 0; {
		fits := w.fitting(refs)
		if fits == 0 {
			most := w.properties.MaxFrame
			return w.fault(p, refs[0], &codecs.Fault{
				At: most, Err: codecs.ErrTooLong, Want: fmt.Sprintf("a payload of at most %d bytes", most),
			})
		}
		if err := w.call(ctx, &codeccall.Encode{Data: p.data, Refs: refs[:fits]}); err != nil {
			return err
		}
		refs = refs[w.result.Taken():]
		w.done += int64(w.result.Taken())
		if fault := w.result.Fault; fault != nil {
			return w.fault(p, refs[0], fault)
		}
	}
	return nil
}

// fault returns what is wrong with the payload behind those that are done.
func (w *frameWriter) fault(p *payloads, ref codecs.Ref, fault *codecs.Fault) *payloadFault {
	payload := p.data[ref.Off : ref.Off+ref.Len]
	return &payloadFault{
		Index: w.done, At: fault.At, Err: fault.Err, Want: fault.Want, Got: bytesAt(payload, fault.At, "the payload's end"),
	}
}

// fitting returns how many of refs precede the first that is longer than the limit. Not every encoder knows of it.
func (w *frameWriter) fitting(refs []codecs.Ref) int {
	for i, ref := range refs {
		if int64(ref.Len) > int64(w.properties.MaxFrame) {
			return i
		}
	}
	return len(refs)
}

// end writes what ends a stream. Nothing is written after it.
func (w *frameWriter) end(ctx context.Context) error {
	for {
		if err := w.call(ctx, &codeccall.Encode{EOF: true}); err != nil || !w.result.More {
			return err
		}
	}
}

// call makes a call, with as much room as it takes, and writes the result.
func (w *frameWriter) call(ctx context.Context, in *codeccall.Encode) error {
	in.State = w.state
	in.RoomNeeded = 0
	for in.Room = 2 * readSize; ; in.Room, in.RoomNeeded = w.result.RoomNeeded, w.result.RoomNeeded {
		if err := w.direction.Encode(ctx, in, &w.result); err != nil {
			return err
		}
		if !w.result.More || w.result.RoomNeeded <= in.Room {
			break
		}
	}
	w.state = append(w.state[:0], w.result.State...)
	_, err := w.out.Write(w.result.Wire)
	return err
}

// A payloadFault says which payload a framing can't carry.
type payloadFault struct { //nolint:errname // the word for it everywhere
	Index int64 // of the payload in its stream, from 0
	At    int   // the byte of it that made it certain
	Err   error // codecs.ErrUnrepresentable or ErrTooLong
	Want  string
	Got   string // the bytes at At, in hex
}

func (f *payloadFault) Error() string {
	return fmt.Sprintf("%v: byte %d: got %s, want %s", f.Err, f.At, f.Got, f.Want)
}

func (f *payloadFault) Unwrap() error { return f.Err }

// faultyOrFailed is an error of coding: of the bytes, or else a failure while running. what says what was coded, by its
// index.
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

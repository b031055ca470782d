package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// readSize is how many bytes are read, or passed to a call, at once.
const readSize = 64 << 10

// A frameReader decodes one stream, in memory bounded by the codec's longest frame.
type frameReader struct {
	source io.Reader
	codec  codeccall.Codec
	// frame is called with each payload, which is valid during the call, and with the position of its frame in the stream; -1
	// unless places.
	frame func(offset int64, payload []byte) error
	// settled, unless nil, is called when everything that has arrived is decoded, before run waits for more.
	settled func() error
	places  bool
	// faulty is called for each fault, which is then skipped; nil: decoding ends at the first fault.
	faulty func(*wireFault)

	decoder codecstream.Decoder
	locator *locator
	wire    bytes.Buffer // bytes received and not consumed
	found   codeccall.Decoded
	skipped int64 // bytes that were skipped after faults
}

// run decodes until the stream ends. If a fault ends it, run returns a *wireFault, after frame was called for all payloads before the
// fault.
func (r *frameReader) run(ctx context.Context) error {
	r.decoder.Direction = r.codec.Open()
	defer r.decoder.Direction.Close()
	if r.places {
		r.locator = newLocator(ctx, r.codec)
		defer r.locator.close()
	}
	for {
		end, err := r.receive()
		if err != nil {
			return err
		}
		if err := r.decoder.Decode(ctx, r, r, false); err != nil {
			return err
		}
		if end {
			if err := r.decoder.Decode(ctx, r, r, true); err != nil {
				return err
			}
		}
		if err := r.flush(); err != nil || end {
			return err
		}
	}
}

// receive reads once, and reports whether the stream has ended.
func (r *frameReader) receive() (end bool, err error) {
	r.wire.Grow(readSize)
	n, err := r.source.Read(r.wire.AvailableBuffer()[:readSize])
	r.wire.Write(r.wire.AvailableBuffer()[:n])
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

func (r *frameReader) flush() error {
	if r.settled == nil {
		return nil
	}
	return r.settled()
}

// Bytes returns the bytes that were received and not consumed.
func (r *frameReader) Bytes() []byte { return r.wire.Bytes() }

// Consume drops the first n of these bytes.
func (r *frameReader) Consume(n int) { r.wire.Next(n) }

// Prepare gives a call as much room as it needs.
func (r *frameReader) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	in.Room = max(readSize, in.RoomNeeded)
	if r.faulty != nil && !r.places {
		in.Skips = codeccall.MaxSkips
	}
	return &r.found, nil
}

// Found calls r.frame for the payloads of a call, and reports the faults that the call skipped.
func (r *frameReader) Found(result *codecstream.Result) error {
	r.skipped += int64(result.Dropped)
	begins, err := r.begins(result)
	if err != nil {
		return err
	}
	next := 0 // index of the next skipped fault
	for i := range len(result.Refs) + 1 {
		for ; next < len(result.SkippedFaults) && result.SkippedFaults[next].Payloads == i; next++ {
			f := result.SkippedFault(next)
			if err := r.report(&f); err != nil {
				return err
			}
		}
		if i == len(result.Refs) {
			return nil
		}
		if err := r.frame(begins(i), result.Payload(i)); err != nil {
			return err
		}
	}
	return nil
}

// begins returns a function that returns the position in the stream where the frame of a payload begins; -1 unless r.places.
func (r *frameReader) begins(result *codecstream.Result) (of func(payload int) int64, err error) {
	switch {
	case !r.places:
		return func(int) int64 { return -1 }, nil
	case result.EOF: // a frame that the end of the stream completes begins with the first byte that is left
		return func(int) int64 { return result.Offset }, nil
	}
	begins, err := r.locator.locate(result.Wire, result.State, len(result.Refs))
	return func(payload int) int64 { return result.Offset + int64(begins[payload]) }, err
}

// Fault reports a fault. Decoding goes on after it if r.faulty is set and the codec can.
func (r *frameReader) Fault(f *codecstream.Fault) (goOn bool, err error) {
	if r.faulty == nil {
		return false, faultOnWire(f)
	}
	if f.Final {
		if err := r.flush(); err != nil { // the payloads before the fault are reported first
			return false, err
		}
		return false, faultOnWire(f)
	}
	return true, r.report(f)
}

// report reports a fault that is skipped.
func (r *frameReader) report(f *codecstream.Fault) error {
	if err := r.flush(); err != nil { // the payloads before the fault are reported first
		return err
	}
	r.faulty(faultOnWire(f))
	r.skipped += int64(len(f.Dropped))
	return nil
}

// Drop counts more bytes of a frame that a fault has dropped.
func (r *frameReader) Drop(p []byte) { r.skipped += int64(len(p)) }

// A wireFault says where a stream stopped being frames. Offsets count from its first byte.
type wireFault struct { //nolint:errname // the word for it everywhere
	Offset    int64 // of the faulty frame's first byte
	At        int64 // of the byte that shows the fault
	Err       error // codecs.ErrTooLong, ErrMalformed or ErrTruncated
	Want      string
	Got       string // the frame's first bytes, in hex and as text
	Announced uint64 // the payload length that a frame which is too long announces; 0: none
}

// excerpt is how many bytes of a faulty frame or payload are shown.
const excerpt = 16

// faultOnWire returns f with its place in the stream.
func faultOnWire(f *codecstream.Fault) *wireFault {
	return &wireFault{
		Offset: f.Begin + int64(f.Offset), At: f.Begin + int64(f.At), Err: f.Err, Want: f.Want,
		Got: frameText(f.Wire[f.Offset:], f.At-f.Offset), Announced: f.Announced,
	}
}

// frameText returns the first bytes of b, a frame whose byte at is wrong, in hex and as text. If that byte is not among them, it adds the
// bytes there.
func frameText(b []byte, at int) string {
	first := b[:min(2*excerpt, len(b))]
	text := "nothing"
	if len(first) > 0 {
		text = fmt.Sprintf("% X %s", first, strconv.QuoteToASCII(string(first)))
	}
	switch {
	case at == len(b):
		return text + more(len(first) < len(b)) + " and the end of the stream"
	case at >= len(first):
		there := b[at:min(at+excerpt, len(b))]
		return fmt.Sprintf("%s … % X%s", text, there, more(at+len(there) < len(b)))
	default:
		return text + more(len(first) < len(b))
	}
}

func more(there bool) string {
	if there {
		return " …"
	}
	return ""
}

// bytesAt returns in hex the bytes of b from at on or, if b ends there, the bytes before at.
func bytesAt(b []byte, at int, end string) string {
	switch there := b[at:min(at+excerpt, len(b))]; {
	case len(there) > 0 && at+len(there) < len(b):
		return fmt.Sprintf("% X …", there)
	case len(there) > 0:
		return fmt.Sprintf("% X", there)
	case len(b) == 0:
		return end
	case len(b) > excerpt:
		return fmt.Sprintf("%s after … % X", end, b[len(b)-excerpt:])
	default:
		return fmt.Sprintf("%s after % X", end, b)
	}
}

func (f *wireFault) Error() string {
	announced, allowed := "", ""
	if f.Announced > 0 {
		announced = fmt.Sprintf("a payload of %d bytes announced, ", f.Announced)
	}
	switch {
	case !errors.Is(f.Err, codecs.ErrTooLong) || f.Announced > codecs.MaxFrame:
	case f.Announced > 0:
		allowed = fmt.Sprintf("; --max-frame %dB would allow it", f.Announced)
	default:
		allowed = "; --max-frame allows longer ones"
	}
	return fmt.Sprintf("%v at offset %d (its frame begins at offset %d): %sgot %s, want %s%s",
		f.Err, f.At, f.Offset, announced, f.Got, f.Want, allowed)
}

func (f *wireFault) Unwrap() error { return f.Err }

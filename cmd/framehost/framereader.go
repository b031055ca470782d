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
)

// readSize is how many bytes are read, or handed over, at once.
const readSize = 64 << 10

// A frameReader decodes one stream, in memory bounded by the codec's longest frame.
type frameReader struct {
	source io.Reader
	codec  codeccall.Codec
	// frame is given each payload, valid during the call, and where its frame begins in the stream: -1 unless places.
	frame func(offset int64, payload []byte) error
	// settled, unless nil, is called when everything that has arrived is decoded, before the next read.
	settled func() error
	places  bool
	// faulty is called for each fault after which decoding goes on; nil: decoding ends at the first fault.
	faulty func(*wireFault)

	direction codeccall.Direction
	locator   *locator
	wire      bytes.Buffer // received and not consumed
	offset    int64        // of its first byte, in the stream
	discard   int64        // bytes of the stream that are still to be skipped
	skipped   int64        // bytes that were skipped after faults
	examined  int
	left      int // bytes of wire that the last call left
	need      int
	needed    int // room without which the last call could do nothing; 0: it did something
	state     []byte
	found     codeccall.Decoded
	over      bool // nothing after this can be decoded
}

// run decodes until the stream ends. If a fault ends decoding, run returns it as a *wireFault, after all payloads in front of
// the fault were handed out.
func (r *frameReader) run(ctx context.Context) error {
	r.direction = r.codec.Open()
	defer r.direction.Close()
	if r.places {
		r.locator = newLocator(r.codec)
		defer r.locator.close()
	}
	for !r.over {
		end, err := r.receive()
		if err != nil {
			return err
		}
		if err := r.decode(ctx, false); err != nil {
			return err
		}
		if end && !r.over {
			r.over = true
			if err := r.decode(ctx, true); err != nil {
				return err
			}
		}
		if err := r.settle(); err != nil {
			return err
		}
	}
	return nil
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

func (r *frameReader) settle() error {
	if r.settled == nil {
		return nil
	}
	return r.settled()
}

// decode makes calls until nothing is left to call for.
func (r *frameReader) decode(ctx context.Context, eof bool) error {
	for {
		r.skip()
		if r.discard > 0 {
			return nil // a frame at fault goes on; if the stream ends in it, that was its end
		}
		if n := r.wire.Len(); !eof && (n == 0 || n < r.need) {
			return nil
		}
		in := codeccall.Decode{
			Wire: r.wire.Bytes(), Examined: r.examined, EOF: eof, State: r.state, Room: max(readSize, r.needed), Left: r.left, Need: r.need,
			RoomNeeded: r.needed,
		}
		if r.faulty != nil && !r.places {
			in.Skips = codeccall.MaxSkips
		}
		if err := r.direction.Decode(ctx, &in, &r.found); err != nil {
			return err
		}
		if err := r.handOut(ctx, &in); err != nil {
			return err
		}
		fault := faultOnWire(r.offset, &in, r.found.Fault)
		r.take(len(in.Wire))
		switch {
		case fault == nil && !r.found.More:
			return nil
		case fault == nil:
			continue
		}
		if done, err := r.goOn(fault, eof); done || err != nil {
			return err
		}
	}
}

// handOut calls frame for each payload of a call, and faulty for each fault that was skipped within it.
func (r *frameReader) handOut(ctx context.Context, in *codeccall.Decode) error {
	batch := codeccall.Encode{Wire: in.Wire, Data: r.found.Data, Refs: r.found.Refs}
	var begins []int
	if r.places && !in.EOF { // a frame that only the end completed begins where what is left does
		var err error
		if begins, err = r.locator.locate(ctx, in.Wire, in.State, len(batch.Refs)); err != nil {
			return err
		}
	}
	skipped := r.found.SkippedFaults
	for i := range batch.Refs {
		var err error
		if skipped, err = r.passOver(in, skipped, i); err != nil {
			return err
		}
		offset := int64(-1)
		switch {
		case begins != nil:
			offset = r.offset + int64(begins[i])
		case r.places:
			offset = r.offset
		}
		if err := r.frame(offset, batch.At(i)); err != nil {
			return err
		}
	}
	_, err := r.passOver(in, skipped, len(batch.Refs))
	return err
}

// passOver reports those skipped faults that come after so many payloads of the call, and returns the rest.
func (r *frameReader) passOver(in *codeccall.Decode, skipped []codeccall.SkippedFault, payloads int) ([]codeccall.SkippedFault, error) {
	for ; len(skipped) > 0 && skipped[0].Payloads == payloads; skipped = skipped[1:] {
		if err := r.settle(); err != nil { // payloads before the fault come first
			return nil, err
		}
		f := &skipped[0]
		r.faulty(faultOnWire(r.offset, in, &f.Fault))
		r.skipped += int64(f.Resume + f.Dropped - f.Offset)
	}
	return skipped, nil
}

// take applies the result of a call, which was shown that many bytes.
func (r *frameReader) take(shown int) {
	found := &r.found
	r.state = append(r.state[:0], found.State...)
	r.examined, r.need = found.Examined-found.Consumed, found.Need
	r.left = shown - found.Consumed
	r.needed = found.RoomNeeded
	r.skipped += int64(found.Dropped)
	r.wire.Next(found.Consumed)
	r.offset += int64(found.Consumed)
}

// goOn skips the faulty frame, if that is wanted and possible. done reports that the stream ended in that frame.
func (r *frameReader) goOn(fault *wireFault, eof bool) (done bool, err error) {
	truncated := eof && errors.Is(fault.Err, codecs.ErrTruncated)
	if r.faulty == nil {
		return true, fault
	}
	if err := r.settle(); err != nil { // payloads before the fault come first
		return true, err
	}
	if fault.resume == codecs.Never && !truncated {
		return true, fault
	}
	r.faulty(fault)
	r.examined, r.left, r.need, r.needed = 0, 0, 0, 0
	resume := fault.resume
	if truncated {
		resume = r.offset + int64(r.wire.Len())
	}
	n := fault.Offset - r.offset // bytes before the faulty frame are not part of it
	r.wire.Next(int(n))
	r.offset += n
	r.discard = resume - r.offset
	r.skip()
	return truncated, nil
}

// skip drops the received bytes that are to be skipped.
func (r *frameReader) skip() {
	n := min(r.discard, int64(r.wire.Len()))
	r.wire.Next(int(n))
	r.offset += n
	r.discard -= n
	r.skipped += n
}

// A wireFault says where a stream stopped being frames. Offsets count from its first byte.
type wireFault struct { //nolint:errname // the word for it everywhere
	Offset    int64 // of the faulty frame's first byte
	At        int64 // of the byte where it is wrong
	Err       error // codecs.ErrTooLong, ErrMalformed or ErrTruncated
	Want      string
	Got       string // the frame's first bytes, in hex and as text
	Announced uint64 // the payload length that a too long frame announces; 0: none
	resume    int64  // where decoding may go on; codecs.Never
}

// excerpt is how many bytes are shown where a frame is wrong; of its start, twice as many.
const excerpt = 16

// faultOnWire returns fault with its place in the stream; the call was shown bytes from offset on. It returns nil for nil.
func faultOnWire(offset int64, in *codeccall.Decode, fault *codecs.Fault) *wireFault {
	if fault == nil {
		return nil
	}
	f := &wireFault{
		Offset: offset + int64(fault.Offset), At: offset + int64(fault.At), Err: fault.Err, Want: fault.Want,
		Got: frameText(in.Wire[fault.Offset:], fault.At-fault.Offset), Announced: fault.Announced, resume: codecs.Never,
	}
	if fault.Resume != codecs.Never {
		f.resume = offset + int64(fault.Resume)
	}
	return f
}

// frameText shows the first bytes of b, a frame whose byte at is wrong, in hex and as text; and the bytes from at on, if they
// are not among the first.
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

// bytesAt shows in hex the bytes of b from at on or, if at is the end of b, the bytes before it.
func bytesAt(b []byte, at int, end string) string {
	switch there := b[at:min(at+excerpt, len(b))]; {
	case len(there) > 0 && at+len(there) < len(b):
		return fmt.Sprintf("% X …", there)
	case len(there) > 0:
		return fmt.Sprintf("% X", there)
	case len(b) == 0:
		return end
	case len(b) > excerpt:
		return fmt.Sprintf("%s behind … % X", end, b[len(b)-excerpt:])
	default:
		return fmt.Sprintf("%s behind % X", end, b)
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

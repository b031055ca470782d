package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
	// settled is called when all that has arrived is decoded, before more is waited for; nil: nobody asks.
	settled func() error
	places  bool
	// faulty is told of each fault behind which decoding goes on; nil: it ends at the first.
	faulty func(*wireFault)

	direction codeccall.Direction
	locator   *locator
	wire      bytes.Buffer // received and not consumed
	offset    int64        // of its first byte, in the stream
	discard   int64        // bytes of the stream that are still to be skipped
	examined  int
	left      int // bytes of wire that the last call left
	need      int
	needed    int // room without which the last call could do nothing; 0: it did something
	state     []byte
	found     codeccall.Decoded
	over      bool // nothing behind can be decoded
}

// run decodes until the stream ends. A fault that ends it is a *wireFault, after the payloads in front of it were
// handed out.
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

// handOut gives the payloads of a call to whoever wants them.
func (r *frameReader) handOut(ctx context.Context, in *codeccall.Decode) error {
	batch := codeccall.Encode{Wire: in.Wire, Data: r.found.Data, Refs: r.found.Refs}
	var begins []int
	if r.places && !in.EOF { // a frame that only the end completed begins where what is left does
		var err error
		if begins, err = r.locator.locate(ctx, in.Wire, in.State, len(batch.Refs)); err != nil {
			return err
		}
	}
	for i := range batch.Refs {
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
	return nil
}

// take makes the result of a call that was shown that many bytes effective.
func (r *frameReader) take(shown int) {
	found := &r.found
	r.state = append(r.state[:0], found.State...)
	r.examined, r.need = found.Examined-found.Consumed, found.Need
	r.left = shown - found.Consumed
	r.needed = found.RoomNeeded
	r.wire.Next(found.Consumed)
	r.offset += int64(found.Consumed)
}

// goOn skips the frame at fault, if that is wanted and possible. It is done when the stream was at its end there.
func (r *frameReader) goOn(fault *wireFault, eof bool) (done bool, err error) {
	truncated := eof && errors.Is(fault.Err, codecs.ErrTruncated)
	if r.faulty == nil {
		return true, fault
	}
	if err := r.settle(); err != nil { // what precedes it is told of first
		return true, err
	}
	if fault.resume == codecs.Never && !truncated {
		return true, fault
	}
	r.faulty(fault)
	r.examined, r.left, r.need, r.needed = 0, 0, 0, 0
	r.discard = fault.resume - r.offset
	return truncated, nil
}

// skip drops what was received of what is to be skipped.
func (r *frameReader) skip() {
	n := min(r.discard, int64(r.wire.Len()))
	r.wire.Next(int(n))
	r.offset += n
	r.discard -= n
}

// A wireFault says where a stream stopped being frames. Offsets count from its first byte.
type wireFault struct { //nolint:errname // the word for it everywhere
	Offset int64 // of the faulty frame's first byte
	At     int64 // of the byte that made it certain
	Err    error // codecs.ErrTooLong, ErrMalformed or ErrTruncated
	Want   string
	Got    string // the bytes at At, in hex
	resume int64  // where decoding may go on; codecs.Never
}

// excerpt is how many bytes of what is at fault are shown.
const excerpt = 16

// faultOnWire returns where fault, of a call that was shown bytes from offset on, is in the stream; nil for none.
func faultOnWire(offset int64, in *codeccall.Decode, fault *codecs.Fault) *wireFault {
	if fault == nil {
		return nil
	}
	f := &wireFault{
		Offset: offset + int64(fault.Offset), At: offset + int64(fault.At), Err: fault.Err, Want: fault.Want,
		Got: bytesAt(in.Wire[fault.Offset:], fault.At-fault.Offset, "the end of the stream"), resume: codecs.Never,
	}
	if fault.Resume != codecs.Never {
		f.resume = offset + int64(fault.Resume)
	}
	return f
}

// bytesAt shows in hex what is in b from at on or, where that is its end, what precedes it.
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
	return fmt.Sprintf("%v at offset %d (its frame begins at offset %d): got %s, want %s", f.Err, f.At, f.Offset, f.Got, f.Want)
}

func (f *wireFault) Unwrap() error { return f.Err }

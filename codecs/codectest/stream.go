package codectest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecstream"
)

// A Stream is a stream of a codec in this process, for the tests that its author writes in addition to the suite. Like a
// host, it shows the codec unconsumed bytes together with new ones, and checks each result against the contract.
type Stream struct {
	Framing    codecs.Framing
	Properties codeccall.Properties
	Runner     codeccall.Runner
	Room       int               // bytes of payloads that may be built in a call
	State      []byte            // at the stream's start
	Last       codeccall.Decoded // the result of the last decode

	t testing.TB
}

// NewStream configures codec, with room for 1 MiB. The test fails if that fails, or if a later result breaks the contract.
func NewStream(t testing.TB, codec codecs.Codec, options string, maxFrame int) *Stream {
	t.Helper()
	framing, _, err := codec.Configure(json.RawMessage(options), maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return &Stream{t: t, Framing: framing, Room: 1 << 20,
		Properties: codeccall.Properties{MaxFrame: maxFrame, MaxWire: codecs.MaxWireOf(framing, maxFrame)}}
}

// Decode returns the payloads of a stream that arrives in these reads and then ends, and its first fault, if any. Positions
// in the fault count from the start of the stream.
func (s *Stream) Decode(reads ...string) (payloads []string, fault error) {
	s.t.Helper()
	a := &arriving{stream: s}
	a.decoder.Direction = a
	for _, read := range reads {
		a.wire = append(a.wire, read...)
		a.decode(false)
	}
	a.decode(true)
	if a.fault != nil {
		return a.payloads, a.fault
	}
	return a.payloads, nil
}

// arriving is a stream that is being decoded.
type arriving struct {
	stream   *Stream
	decoder  codecstream.Decoder
	wire     []byte // arrived and not consumed
	began    bool   // a call was made
	payloads []string
	fault    *codecs.Fault // the fault that ended decoding
}

func (a *arriving) decode(eof bool) {
	a.stream.t.Helper()
	if a.fault != nil {
		return
	}
	if err := a.decoder.Decode(a.stream.t.Context(), a, a, eof); err != nil {
		a.stream.t.Fatal(err)
	}
}

// Decode makes a call of the driver.
func (a *arriving) Decode(_ context.Context, in *codeccall.Decode, _ *codeccall.Decoded) error {
	if !a.began {
		in.State, a.began = a.stream.State, true
	}
	a.stream.Call(in)
	return nil
}

// Encode and Close complete a codeccall.Direction.
func (a *arriving) Encode(context.Context, *codeccall.Encode, *codeccall.Encoded) error {
	return errors.ErrUnsupported
}
func (a *arriving) Close() {}

// Bytes returns the bytes that have arrived and were not consumed.
func (a *arriving) Bytes() []byte { return a.wire }

// Consume drops the first n of those bytes.
func (a *arriving) Consume(n int) { a.wire = a.wire[n:] }

// Prepare sets the room of a call.
func (a *arriving) Prepare(in *codeccall.Decode) (*codeccall.Decoded, error) {
	s := a.stream
	if in.RoomNeeded > s.Room {
		return nil, fmt.Errorf("decode of %s: got a demand of room for %d bytes, want it to do with %d",
			quote(in.Wire), in.RoomNeeded, s.Room)
	}
	in.Room = s.Room
	return &s.Last, nil
}

// Found records the payloads of a result.
func (a *arriving) Found(r *codecstream.Result) error {
	for i := range r.Refs {
		a.payloads = append(a.payloads, string(r.Payload(i)))
	}
	return nil
}

// Fault records the fault, which ends decoding.
func (a *arriving) Fault(f *codecstream.Fault) (goOn bool, err error) {
	at := *f.Fault
	at.Offset, at.At = at.Offset+int(f.Begin), at.At+int(f.Begin)
	if at.Resume != codecs.Never {
		at.Resume += int(f.Begin)
	}
	a.fault = &at
	return false, nil
}

// Drop does nothing: decoding ends at the first fault.
func (a *arriving) Drop([]byte) {}

// Call makes one call. Its result is valid until the next call.
func (s *Stream) Call(in *codeccall.Decode) *codeccall.Decoded {
	s.t.Helper()
	if err := s.Runner.Decode(s.Framing, s.Properties.MaxFrame, in, &s.Last); err != nil {
		s.t.Fatal(err)
	}
	if err := in.Check(&s.Properties, &s.Last); err != nil {
		s.t.Fatal(err)
	}
	return &s.Last
}

// Encode returns the frame of payload, at the start of a stream. The test fails if it can't be represented.
func (s *Stream) Encode(payload string) string {
	s.t.Helper()
	out := s.TryEncode(payload)
	if out.Fault != nil {
		s.t.Fatalf("encode %q: %v", payload, out.Fault)
	}
	return string(out.Wire)
}

// TryEncode encodes payload, at the start of a stream. The result is valid until the next call.
func (s *Stream) TryEncode(payload string) codeccall.Encoded {
	s.t.Helper()
	var out codeccall.Encoded
	in := codeccall.Encode{Wire: []byte(payload), Refs: []codecs.Ref{{Len: uint32(len(payload))}}, Room: 1 << 20, EOF: true}
	if err := s.Runner.Encode(s.Framing, &in, &out); err != nil {
		s.t.Fatal(err)
	}
	if err := in.Check(&s.Properties, &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

package codectest

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A Stream is a stream of a codec in this process, for the tests that its author writes beside the suite: it shows the
// codec what is left with what arrives, as a host does, and holds each result against the contract.
type Stream struct {
	Framing    codecs.Framing
	Properties codeccall.Properties
	Runner     codeccall.Runner
	Room       int               // bytes of payloads that may be built in a call
	State      []byte            // at the stream's start
	Last       codeccall.Decoded // the result of the last decode

	t testing.TB
}

// NewStream configures codec, with room for 1 MiB. The test fails if it can't, and where a result breaks the contract.
func NewStream(t testing.TB, codec codecs.Codec, options string, maxFrame int) *Stream {
	t.Helper()
	framing, _, err := codec.Configure(json.RawMessage(options), maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return &Stream{t: t, Framing: framing, Room: 1 << 20,
		Properties: codeccall.Properties{MaxFrame: maxFrame, MaxWire: codecs.MaxWireOf(framing, maxFrame)}}
}

// Decode returns the payloads of a stream that arrives in these reads and then ends, and its first fault, if any, with
// places that count from the stream's start.
func (s *Stream) Decode(reads ...string) (payloads []string, fault error) {
	s.t.Helper()
	in := codeccall.Decode{Room: s.Room, State: s.State}
	offset := 0
	for i := range len(reads) + 1 {
		if in.EOF = i == len(reads); !in.EOF {
			in.Wire = append(in.Wire, reads[i]...)
			if len(in.Wire) < in.Need {
				continue
			}
		}
		for again := true; again; {
			out := s.Call(&in)
			for _, r := range out.Refs {
				payloads = append(payloads, string(payloadAt(in.Wire, out.Data, r)))
			}
			if f := out.Fault; f != nil {
				f.Offset, f.At = f.Offset+offset, f.At+offset
				if f.Resume != codecs.Never {
					f.Resume += offset
				}
				return payloads, f
			}
			if again = out.More; again && out.Consumed == 0 {
				s.t.Fatalf("decode of %s: got a demand of room for %d bytes, want it to do with %d", quote(in.Wire), out.RoomNeeded, s.Room)
			}
			in.Wire, in.Examined, in.Need = in.Wire[out.Consumed:], out.Examined-out.Consumed, out.Need
			in.State = bytes.Clone(out.State)
			offset += out.Consumed
		}
	}
	return payloads, nil
}

// Call makes one call. Its result is valid until the next.
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

// TryEncode encodes payload, at the start of a stream. The result is valid until the next.
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

package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host/config"
)

// triedPayloads are the payloads that CheckRoundTrip tries, after the examples of the codec's profile. They differ in form,
// because a framing may carry only digits, only JSON, or only datagrams of a certain form.
var triedPayloads = []string{"hello", "0", "A", `{"a":1}`, "\x00\x01", "\x05hello"}

// CheckRoundTrip encodes a payload with the codec of key, decodes the frame, and returns an error if the result is not the
// payload. It tries payloads in turn until the codec accepts one. If the codec accepts none, that is no error: a codec
// whose payloads keep their header carries only well-formed messages.
func (s *Set) CheckRoundTrip(ctx context.Context, key Key) error {
	codec, err := s.Codec(ctx, key.Name, key.MaxFrame)
	if err != nil {
		return err
	}
	c := s.config.Codec(key.Name)
	payloads := triedPayloads
	if p, ok := config.LookupProfile(c.Profile); ok {
		payloads = nil
		for _, e := range p.Examples {
			payloads = append(payloads, string(e.Payload))
		}
		payloads = append(payloads, triedPayloads...)
	}
	direction := codec.Open()
	defer direction.Close()
	for _, payload := range payloads {
		if len(payload) > key.MaxFrame {
			continue
		}
		taken, err := roundTrip(ctx, direction, codec.Properties(), []byte(payload))
		if err != nil && ctx.Err() == nil {
			return config.Errors{c.At.Error(fmt.Sprintf("codec %s, tried with the payload %.80q: %v", key.Name, payload, err), "")}
		}
		if taken || err != nil {
			return err
		}
	}
	return nil
}

// roundTrip encodes payload and decodes its frame. taken is false if the codec refuses the payload, or skips it as empty.
func roundTrip(ctx context.Context, direction codeccall.Direction, p codeccall.Properties, payload []byte) (taken bool, err error) {
	encode := codeccall.Encode{Data: payload, Refs: []codecs.Ref{{Len: uint32(len(payload))}}, EOF: true, Room: p.MaxWire + 4096}
	var encoded codeccall.Encoded
	if err := direction.Encode(ctx, &encode, &encoded); err != nil {
		return false, fmt.Errorf("encode: %w", err)
	}
	if fault := encoded.Fault; fault != nil {
		if errors.Is(fault.Err, codecs.ErrUnrepresentable) {
			return false, nil
		}
		return false, fmt.Errorf("encode: %w", fault)
	}
	wire := bytes.Clone(encoded.Wire)
	if len(wire) == 0 {
		return false, nil // skipped
	}
	decode := codeccall.Decode{Wire: wire, EOF: true, Room: p.MaxFrame + 4096}
	var decoded codeccall.Decoded
	if err := direction.Decode(ctx, &decode, &decoded); err != nil {
		return false, fmt.Errorf("decode of % X: %w", shortened(wire), err)
	}
	if decoded.Fault != nil {
		return false, fmt.Errorf("its frame is % X, which decode refuses: %w", shortened(wire), decoded.Fault)
	}
	if n := len(decoded.Refs); n != 1 {
		return false, fmt.Errorf("its frame is % X, which decodes to %d payloads, want the one", shortened(wire), n)
	}
	batch := codecs.Batch{Wire: wire, Data: decoded.Data, Refs: decoded.Refs}
	if got := batch.At(0); !bytes.Equal(got, payload) {
		return false, fmt.Errorf("its frame is % X, which decodes to %.80q, want the same", shortened(wire), got)
	}
	return true, nil
}

// shortened returns the first 32 bytes of b, which is what an error shows.
func shortened(b []byte) []byte { return b[:min(len(b), 32)] }

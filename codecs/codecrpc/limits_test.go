package codecrpc

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A caller may show and pass more than a call may carry, and give more room. The plugin refuses calls beyond the limits of
// PROTOCOL.md. All calls together have the same result as one call would have.
func TestCallsKeepTheirLimits(t *testing.T) {
	client := serveUnix(t, lines)
	for _, maxFrame := range []int{1, 70, 4 << 10, 64 << 10, 1 << 20, 4 << 20} {
		for _, size := range []int{1, 70, 4 << 10, 64 << 10, 1 << 20} {
			if size > maxFrame {
				continue
			}
			t.Run(fmt.Sprintf("max_frame=%d/payload=%d", maxFrame, size), func(t *testing.T) {
				codec := configure(t, client, "", maxFrame)
				count := max(2, min(6<<20/(size+1), 200_000))
				want := append(bytes.Repeat(append(bytes.Repeat([]byte("x"), size), '\n'), count), 'y')
				got, fault := relayAll(t, codec.Open(), want, 16<<20)
				if !bytes.Equal(got, want[:len(want)-1]) {
					t.Errorf("got %d bytes, want the %d shown but for the last", len(got), len(want))
				}
				last := codecs.Fault{Offset: len(want) - 1, At: len(want), Err: codecs.ErrTruncated, Want: "a terminator", Resume: len(want)}
				if fault == nil || *fault != last {
					t.Errorf("got fault %+v, want %+v", fault, last)
				}
			})
		}
	}
}

// relayAll decodes wire and encodes the payloads found, like a relay: it shows and passes the rest again. It returns the new wire,
// and the fault that ended decoding, counted from the first byte of wire.
func relayAll(t *testing.T, d codeccall.Direction, wire []byte, room int) (got []byte, fault *codecs.Fault) {
	t.Helper()
	in := codeccall.Decode{Wire: wire, EOF: true, Room: room}
	var found codeccall.Decoded
	var out codeccall.Encoded
	for at := 0; ; {
		if err := d.Decode(t.Context(), &in, &found); err != nil {
			t.Fatalf("decode %d bytes: %v", len(in.Wire), err)
		}
		for refs := found.Refs; len(refs) > 0; refs = refs[out.Taken():] {
			encode := codeccall.Encode{Wire: in.Wire, Data: found.Data, Refs: refs, Room: room}
			if err := d.Encode(t.Context(), &encode, &out); err != nil {
				t.Fatalf("encode %d payloads, %d bytes: %v", len(refs), encode.PayloadBytes(), err)
			}
			if out.Taken() == 0 || out.Taken() < len(refs) && !out.More {
				t.Fatalf("%d of %d payloads were taken, more %v", out.Taken(), len(refs), out.More)
			}
			got = append(got, out.Wire...)
		}
		if fault := found.Fault; fault != nil {
			fault.Offset, fault.At, fault.Resume = fault.Offset+at, fault.At+at, fault.Resume+at
			return got, fault
		}
		if !found.More {
			return got, nil
		}
		at += found.Consumed
		in.Left = len(in.Wire) - found.Consumed
		in.Wire, in.Examined = in.Wire[found.Consumed:], found.Examined-found.Consumed
	}
}

// A frame without end is too long even if no call shows all of it, and a payload that no call may carry is refused.
func TestBeyondAllLimits(t *testing.T) {
	codec := configure(t, serveUnix(t, lines), "", 4096)
	d := codec.Open()
	var found codeccall.Decoded
	in := codeccall.Decode{Wire: bytes.Repeat([]byte("x"), 3<<20), Room: 4096}
	if err := d.Decode(t.Context(), &in, &found); err != nil || found.Fault == nil || !errors.Is(found.Fault.Err, codecs.ErrTooLong) || found.More {
		t.Errorf("got %+v and %v, want a frame that is too long", found, err)
	}
	refs := []codecs.Ref{{Off: 0, Len: 10}, {Off: 10, Len: 2 << 20}, {Off: 20, Len: 10}}
	var out codeccall.Encoded
	encode := codeccall.Encode{Wire: in.Wire, Refs: refs, Room: 4096}
	if err := d.Encode(t.Context(), &encode, &out); err != nil || out.Taken() != 1 || !out.More || out.Fault != nil {
		t.Fatalf("got %d payloads, more %v, fault %v and %v; want 1 and more", out.Taken(), out.More, out.Fault, err)
	}
	encode.Refs, encode.State = refs[1:], []byte("state")
	if err := d.Encode(t.Context(), &encode, &out); err != nil || out.Taken() != 0 || out.Fault == nil ||
		!errors.Is(out.Fault.Err, codecs.ErrTooLong) || len(out.Wire) > 0 || string(out.State) != "state" {
		t.Fatalf("got %+v and %v, want a payload that is too long", out, err)
	}
	if err := encode.Check(&codeccall.Properties{MaxFrame: 4096, MaxWire: 4097}, &out); err != nil {
		t.Error(err)
	}
}

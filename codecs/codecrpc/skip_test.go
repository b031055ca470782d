package codecrpc

import (
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A digit is a frame of its own. Every other byte is a fault, with one of several texts in Want.
type digit struct{ wants []string }

func digits(wants ...string) codecs.Codec {
	return codecs.New(codecs.Info{Name: "digits", Version: "1", Description: "digits"}, struct{}{},
		func(*struct{}, int) (codecs.Framing, error) { return digit{wants}, nil })
}

func (digit) MaxWire(int) int                                  { return 1 }
func (digit) Encode(*codecs.Frames, codecs.Batch) (int, error) { return 0, nil }

func (d digit) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	for i, c := range in.Bytes {
		if c < '0' || c > '9' {
			want := d.wants[int(c)%len(d.wants)]
			return i, &codecs.Fault{Offset: i, At: i, Err: codecs.ErrMalformed, Want: want, Resume: i + 1}
		}
		if err := out.Refer(i, i+1); err != nil {
			return i, err
		}
	}
	return len(in.Bytes), nil
}

// Over either plane, the answer to one call has all faults of garbage.
func TestFaultsAreSkippedInOneCall(t *testing.T) {
	planes := map[string]func(*testing.T, codecs.Codec) *Client{
		"grpc": func(t *testing.T, codec codecs.Codec) *Client { return serveUnix(t, codec) },
		"shm":  serveShared,
	}
	for plane, serve := range planes {
		t.Run(plane, func(t *testing.T) {
			codec := configure(t, serve(t, digits("a digit", "no punctuation", "")), "{}", 10)
			d := codec.Open()
			defer d.Close()
			wire := make([]byte, 3*codeccall.MaxSkips)
			for i := range wire {
				wire[i] = '0' + byte(i%3)*10 // '0', ':' and 'D': two faults for each payload
			}
			in := &codeccall.Decode{Wire: wire, Room: 100, Skips: codeccall.MaxSkips}
			var out codeccall.Decoded
			for range 2 { // the memory of a result is reused
				if err := d.Decode(t.Context(), in, &out); err != nil {
					t.Fatal(err)
				}
			}
			if len(out.SkippedFaults) != codeccall.MaxSkips || len(out.Refs) != codeccall.MaxSkips/2+1 {
				t.Fatalf("got %d faults and %d payloads, want %d and %d",
					len(out.SkippedFaults), len(out.Refs), codeccall.MaxSkips, codeccall.MaxSkips/2+1)
			}
			for i, f := range out.SkippedFaults {
				at := i/2*3 + 1 + i%2
				want := codecs.Fault{Offset: at, At: at, Err: codecs.ErrMalformed, Resume: at + 1}
				want.Want = []string{"no punctuation", ""}[i%2]
				if f.Payloads != i/2+1 || f.Fault != want {
					t.Fatalf("fault %d: got %+v, want %+v after %d payloads", i, f, want, i/2+1)
				}
			}
			if end := codeccall.MaxSkips/2*3 + 1; out.Fault == nil || out.Fault.Offset != end || out.Consumed != end {
				t.Errorf("got %v, consumed %d, want the fault at %d, for which there is no skip left", out.Fault, out.Consumed, end)
			}
		})
	}
}

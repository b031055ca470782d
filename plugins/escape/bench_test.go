package escape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

const benchMaxFrame = 1 << 16

var benchmarks = []struct {
	name, options string
	stuffed       int // of 100 bytes
	special       byte
}{
	{"none", newline, 0, 0},
	{"crlf", crlf, 0, 0},
	{"map0", ``, 0, 0},
	{"map5", ``, 5, '\n'},
	{"xor5", `{"style":"xor","terminator":"0x7E","escape":"0x7D"}`, 5, 0x7e},
	{"ppp5", ppp, 5, 0x7e},
	{"double5", dleSTX, 5, 0x10},
}

// bench returns a framing, and about 128 KiB of payloads of n bytes with their wire.
func bench(b *testing.B, options string, n, stuffed int, special byte) (codecs.Framing, *codeccall.Encode, []byte) {
	f, _, err := Codec.Configure(json.RawMessage(options), benchMaxFrame)
	if err != nil {
		b.Fatal(err)
	}
	payload := bytes.Repeat([]byte("abcdefghijklmnopqrst"), n/20+1)[:n]
	for i := range payload {
		if stuffed > 0 && i%(100/stuffed) == 7 {
			payload[i] = special
		}
	}
	in := &codeccall.Encode{Room: 1 << 20}
	for len(in.Wire) < 1<<17 {
		in.Refs = append(in.Refs, codecs.Ref{Off: uint32(len(in.Wire)), Len: uint32(n)})
		in.Wire = append(in.Wire, payload...)
	}
	var runner codeccall.Runner
	var out codeccall.Encoded
	if err := runner.Encode(f, in, &out); err != nil || out.Fault != nil || out.More {
		b.Fatalf("got %v, fault %v, more %t", err, out.Fault, out.More)
	}
	return f, in, bytes.Clone(out.Wire)
}

func benchEach(b *testing.B, run func(b *testing.B, f codecs.Framing, in *codeccall.Encode, wire []byte)) {
	for _, bm := range benchmarks {
		for _, n := range []int{64, 256, 1024, 16384} {
			b.Run(fmt.Sprintf("%s/%d", bm.name, n), func(b *testing.B) {
				f, in, wire := bench(b, bm.options, n, bm.stuffed, bm.special)
				b.SetBytes(int64(in.PayloadBytes()))
				b.ReportAllocs()
				run(b, f, in, wire)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in.Refs)), "ns/frame")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	benchEach(b, func(b *testing.B, f codecs.Framing, in *codeccall.Encode, wire []byte) {
		var runner codeccall.Runner
		var out codeccall.Decoded
		call := codeccall.Decode{Wire: wire, Room: 1 << 20}
		for b.Loop() {
			if err := runner.Decode(f, benchMaxFrame, &call, &out); err != nil || out.Consumed != len(wire) {
				b.Fatalf("got %v, %d of %d bytes", err, out.Consumed, len(wire))
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	benchEach(b, func(b *testing.B, f codecs.Framing, in *codeccall.Encode, wire []byte) {
		var runner codeccall.Runner
		var out codeccall.Encoded
		for b.Loop() {
			if err := runner.Encode(f, in, &out); err != nil || len(out.Wire) != len(wire) {
				b.Fatalf("got %v, %d of %d bytes", err, len(out.Wire), len(wire))
			}
		}
	})
}

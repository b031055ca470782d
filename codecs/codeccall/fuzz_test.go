package codeccall

import (
	"encoding/binary"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// fuzzed takes numbers out of bytes: small ones mostly, and now and then ones of any size and sign.
type fuzzed struct{ rest []byte }

func (f *fuzzed) number() int {
	if len(f.rest) == 0 {
		return 0
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	if b < 0xf0 || len(f.rest) < 8 {
		return int(int8(b))
	}
	n := int(binary.LittleEndian.Uint64(f.rest))
	f.rest = f.rest[8:]
	return n
}

func (f *fuzzed) flag() bool { return f.number()&1 == 1 }

func (f *fuzzed) fault() codecs.Fault {
	kinds := []error{codecs.ErrTooLong, codecs.ErrMalformed, codecs.ErrTruncated, codecs.ErrUnrepresentable, nil}
	return codecs.Fault{
		Offset: f.number(), At: f.number(), Resume: f.number(), Err: kinds[uint(f.number())%uint(len(kinds))], Announced: uint64(f.number()),
	}
}

// What Check lets pass can be used without another look: payloads lie where they may, and positions in what was shown.
func FuzzCheckDecode(f *testing.F) {
	f.Add([]byte{5, 0, 0, 8, 1, 1, 0, 2, 3, 3, 0, 0, 0})
	f.Add([]byte{12, 1, 2, 9, 2, 0, 3, 12, 4, 12, 12, 0, 1, 2, 3, 4, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		from := &fuzzed{b}
		p := Properties{MaxFrame: 10, MaxWire: 12}
		wire := make([]byte, uint(from.number())%40)
		in := Decode{Wire: wire, EOF: from.flag(), Skips: int(uint(from.number()) % 3), Room: int(uint(from.number()) % 20), Need: int(uint(from.number()) % 14)}
		out := Decoded{
			Consumed: from.number(), Examined: from.number(), Need: from.number(), More: from.flag(), RoomNeeded: from.number(),
			Skipped: from.number(), Dropped: from.number(), Data: make([]byte, uint(from.number())%24),
		}
		for range uint(from.number()) % 4 {
			out.Refs = append(out.Refs, codecs.Ref{Off: uint32(from.number()), Len: uint32(from.number())})
		}
		for range uint(from.number()) % 4 {
			out.SkippedFaults = append(out.SkippedFaults, SkippedFault{Fault: from.fault(), Payloads: from.number(), Dropped: from.number()})
		}
		if from.flag() {
			fault := from.fault()
			out.Fault = &fault
		}
		if in.Check(&p, &out) != nil {
			return
		}
		shown := len(wire)
		if out.Consumed < 0 || out.Examined < out.Consumed || out.Examined > shown || out.Dropped > out.Consumed {
			t.Fatalf("consumed %d, examined %d, dropped %d of %d bytes", out.Consumed, out.Examined, out.Dropped, shown)
		}
		batch := codecs.Batch{Wire: wire, Data: out.Data, Refs: out.Refs}
		for i := range out.Refs {
			if len(batch.At(i)) > p.MaxFrame {
				t.Fatalf("payload %d has %d bytes", i, len(batch.At(i)))
			}
		}
		for i := range out.SkippedFaults {
			f := &out.SkippedFaults[i]
			_ = wire[f.Offset : f.Resume+f.Dropped]
			_ = wire[f.At:]
			if f.Payloads > len(out.Refs) || f.Resume+f.Dropped > out.Consumed {
				t.Fatalf("skipped fault %d: %+v", i, f)
			}
		}
		if f := out.Fault; f != nil {
			_ = wire[f.Offset:]
			_ = wire[f.At:]
			if f.Resume != codecs.Never && f.Resume <= f.Offset {
				t.Fatalf("a fault at %d resumes at %d", f.Offset, f.Resume)
			}
		}
	})
}

// The same for encoding.
func FuzzCheckEncode(f *testing.F) {
	f.Add([]byte{2, 3, 1, 9, 4, 2, 2, 4, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		from := &fuzzed{b}
		p := Properties{MaxFrame: 10, MaxWire: 12}
		var in Encode
		for range uint(from.number()) % 4 {
			n := uint(from.number()) % 11
			in.Refs = append(in.Refs, codecs.Ref{Off: uint32(len(in.Data)), Len: uint32(n)})
			in.Data = append(in.Data, make([]byte, n)...)
		}
		in.EOF, in.Room = from.flag(), int(uint(from.number())%40)
		out := Encoded{Wire: make([]byte, uint(from.number())%48), More: from.flag(), RoomNeeded: from.number()}
		for range uint(from.number()) % 5 {
			out.Ends = append(out.Ends, uint32(from.number()))
		}
		if from.flag() {
			fault := from.fault()
			out.Fault = &fault
		}
		if in.Check(&p, &out) != nil {
			return
		}
		if out.Taken() > len(in.Refs) || out.Fault != nil && out.Taken() == len(in.Refs) {
			t.Fatalf("took %d of %d payloads, fault %v", out.Taken(), len(in.Refs), out.Fault)
		}
		last := uint32(0)
		for i, end := range out.Ends {
			if n := len(out.Wire[last:end]); n > p.MaxWire || n == 0 && in.Refs[i].Len > 0 {
				t.Fatalf("frame %d has %d bytes, of a payload of %d", i, n, in.Refs[i].Len)
			}
			last = end
		}
	})
}

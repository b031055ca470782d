package codecrpc

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Protobuf reads the messages that message.go writes, and message.go those of protobuf.
func TestHeadsAreProtobuf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		number := func() uint32 { return r.Uint32() >> r.IntN(33) }
		call := callHead{
			kind: kind(r.IntN(3)), codec: number(), dataSize: number(), payloads: number(), eof: r.IntN(2) == 0,
			state: randomBytes(r, 256), room: number(), examined: number(), stream: r.Uint64() >> r.IntN(65), kept: number(),
			keptOf: r.Uint64() >> r.IntN(65), skips: number(),
		}
		var pbCall codecpb.CallHead
		if err := proto.Unmarshal(call.append(nil), &pbCall); err != nil {
			t.Fatal(err)
		}
		b, err := proto.Marshal(&pbCall)
		if err != nil {
			t.Fatal(err)
		}
		var back callHead
		if err := back.parse(b); err != nil {
			t.Fatal(err)
		}
		if got, want := back.append(nil), call.append(nil); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
		if pbCall.DataSize != call.dataSize || pbCall.KeptOf != call.keptOf || pbCall.Eof != call.eof || !bytes.Equal(pbCall.State, call.state) ||
			pbCall.Skips != call.skips {
			t.Fatalf("got %v, want %+v", &pbCall, call)
		}

		answer := answerHead{
			dataSize: number(), payloads: number(), consumed: number(), examined: number(), need: number(), more: r.IntN(2) == 0,
			roomNeeded: number(), skipped: number(), dropped: number(), state: randomBytes(r, 256), resend: r.IntN(2) == 0, err: []byte("sorry"),
		}
		if r.IntN(2) == 0 {
			answer.fault = &codecs.Fault{
				Offset: int(number()), At: int(number()), Err: codeccall.FaultKinds[1+r.IntN(4)], Want: strings.Repeat("w", r.IntN(200)),
				Resume: int(number()) - 1, Announced: r.Uint64(),
			}
		}
		for range r.IntN(20) {
			answer.faults = append(answer.faults, codeccall.SkippedFault{Payloads: int(number()), Dropped: int(number()), Fault: codecs.Fault{
				Offset: int(number()), At: int(number()), Err: codeccall.FaultKinds[1+r.IntN(4)], Want: strings.Repeat("w", r.IntN(codeccall.MaxWants)),
				Resume: int(number()), Announced: r.Uint64(),
			}})
		}
		if got, most := len(appendSkipped(nil, answer.faults)), skippedRoom(answer.faults); got > most {
			t.Fatalf("%d skipped faults take %d bytes, want %d at most", len(answer.faults), got, most)
		}
		var pbAnswer codecpb.AnswerHead
		if err := proto.Unmarshal(answer.append(nil), &pbAnswer); err != nil {
			t.Fatal(err)
		}
		if b, err = proto.Marshal(&pbAnswer); err != nil {
			t.Fatal(err)
		}
		var backAnswer answerHead
		if err := backAnswer.parse(b, 20); err != nil {
			t.Fatal(err)
		}
		if got, want := backAnswer.append(nil), answer.append(nil); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
		if f := answer.fault; f != nil && (pbAnswer.Fault.Resume != int64(f.Resume) || pbAnswer.Fault.Want != f.Want || pbAnswer.Fault.Announced != f.Announced) {
			t.Fatalf("got %v, want %+v", pbAnswer.Fault, f)
		}
		for i, f := range pbAnswer.SkippedFaults {
			want := answer.faults[i]
			if int(f.Offset) != want.Offset || int(f.Payloads) != want.Payloads || int(f.Dropped) != want.Dropped ||
				f.Announced != want.Announced || pbAnswer.Wants[f.Want] != want.Want {
				t.Fatalf("got %v, want %+v", f, want)
			}
		}
		if len(pbAnswer.SkippedFaults) != len(answer.faults) || !slices.Equal(backAnswer.faults, answer.faults) {
			t.Fatalf("got %v and %v, want %v", pbAnswer.SkippedFaults, backAnswer.faults, answer.faults)
		}
	}
}

// Parts that protobuf reads and joins are the call.
func TestCallParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	in := &codeccall.Encode{Wire: make([]byte, 3<<20)}
	for i := range in.Wire {
		in.Wire[i] = byte(r.Uint32())
	}
	var want []byte
	for off := 0; len(in.Refs) < 40_000; {
		n := r.IntN(60)
		in.Refs = append(in.Refs, codecs.Ref{Off: uint32(off), Len: uint32(n)})
		want = append(want, in.Wire[off:off+n]...)
		off += n + 1
	}
	c := &call{id: 9, payloads: newGatherer(in), batch: in, head: callHead{
		kind: kindEncode, dataSize: uint32(len(want)), payloads: uint32(len(in.Refs)),
	}}
	var got []byte
	var lengths []uint32
	for parts, last := 0, false; !last; parts++ {
		var m *outgoing
		m, last = c.nextPart()
		if len(*m.bytes) > maxPart {
			t.Fatalf("a part of %d bytes, want at most %d", len(*m.bytes), maxPart)
		}
		var pb codecpb.Call
		if err := proto.Unmarshal(*m.bytes, &pb); err != nil {
			t.Fatal(err)
		}
		if pb.Id != 9 || (pb.Head != nil) != (parts == 0) {
			t.Fatalf("part %d: id %d, head %v", parts, pb.Id, pb.Head)
		}
		got = append(got, pb.Data...)
		lengths = append(lengths, pb.Lengths...)
	}
	if !bytes.Equal(got, want) || len(lengths) != len(in.Refs) {
		t.Fatalf("got %d bytes and %d lengths, want %d and %d", len(got), len(lengths), len(want), len(in.Refs))
	}
	for i, n := range lengths {
		if n != in.Refs[i].Len {
			t.Fatalf("length %d: got %d, want %d", i, n, in.Refs[i].Len)
		}
	}
}

// The example of PROTOCOL.md shows the bytes that are really sent and answered.
func TestProtocolExample(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(Call .*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no example")
	}
	text, answerText, _ := strings.Cut(string(block[1]), "Answer")
	callBytes, answerBytes := hexOf(t, strings.TrimPrefix(text, "Call")), hexOf(t, answerText)

	c := &call{id: 1, wire: []byte("hi\nho\na"), head: callHead{kind: kindDecode, codec: 1, dataSize: 7, room: 65536}}
	m, last := c.nextPart()
	if !last || !bytes.Equal(*m.bytes, callBytes) {
		t.Errorf("call: got % x, the page says % x", *m.bytes, callBytes)
	}
	s := &served{id: 1, answer: answerHead{payloads: 2, consumed: 6, examined: 7},
		refsOut: []codecs.Ref{{Off: 0, Len: 2}, {Off: 3, Len: 2}}}
	m, last = s.nextPart()
	if !last || !bytes.Equal(*m.bytes, answerBytes) {
		t.Errorf("answer: got % x, the page says % x", *m.bytes, answerBytes)
	}
}

// hexOf reads the columns of two hex digits at the front of each line.
func hexOf(t *testing.T, text string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(text) {
		digits := regexp.MustCompile(`^\s*((?:[0-9a-f]{2}\s+)+)`).FindString(line + " ")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte{8, 1, 0x12, 2, 8, 1, 0x1a, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p part
		if p.parse(b) != nil {
			return
		}
		var call callHead
		_ = call.parse(p.head)
		var answer answerHead
		_ = answer.parse(p.head, 9)
		for _, numbers := range p.numbers {
			for len(numbers) > 0 {
				_, rest, err := nextNumber(numbers)
				if err != nil {
					break
				}
				numbers = rest
			}
		}
	})
}

// No message of an answer that the SDK sends before the last is so short that the host would take it for the last.
func TestPartsOfAnswersAreLongEnough(t *testing.T) {
	for name, c := range map[string]*served{
		"frames that were skipped": {endsOut: make([]uint32, codecs.MaxPayloads)},
		"empty payloads":           {refsOut: make([]codecs.Ref, codecs.MaxPayloads)},
		"one, of many bytes":       {endsOut: []uint32{3 * maxPart}, reply: make([]byte, 3*maxPart)},
		"skipped, then bytes":      {endsOut: make([]uint32, partRoom/4/10+1), reply: make([]byte, maxPart)},
	} {
		parts := 0
		for last := false; !last; parts++ {
			var m *outgoing
			if m, last = c.nextPart(); !last && len(*m.bytes) < leastPart {
				t.Errorf("%s: part %d has %d bytes, want %d or more", name, parts, len(*m.bytes), leastPart)
			}
		}
		if parts < 2 {
			t.Errorf("%s: %d parts, want several", name, parts)
		}
	}
}

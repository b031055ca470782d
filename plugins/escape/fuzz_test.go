package escape

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// fuzzed are the options from which FuzzDecode chooses. Short terminators of few different bytes make collisions likely.
var fuzzed = []string{
	``, slip, ppp, dleSTX, telnetEOR, smtpData, newline, crlf, stxETX, mllp, ndjson,
	`{"map":{"LF":"LF","\\":"\\"},"empty":"skip","unterminated":"deliver"}`,
	`{"terminator":"CRLF","also_accept":["LF"],"ignore":["NUL"],"map":{"CR":"r","LF":"n","\\":"\\"}}`,
	`{"terminator":"ab","style":"xor","escape":"\\","abort":true,"empty":"refuse","ignore":["c"]}`,
	`{"terminator":"\\end","also_accept":["\\e\\x","\\f"],"style":"double","ignore":["NUL"],"empty":"refuse"}`,
	`{"style":"line_dot","terminator":"0x0D0A2E0D0A","start":"<","ignore":["NUL"],"unterminated":"deliver"}`,
	`{"terminator":"aab","style":"none","also_accept":["ab","xaay","xz"],"unterminated":"deliver"}`,
	`{"terminator":"CRLF","style":"none","start":"<<","ignore":["NUL","80-FF"]}`,
	`{"terminator":"aa","style":"none","leading_terminator":true,"empty":"skip"}`,
}

func FuzzDecode(f *testing.F) {
	for i := range fuzzed {
		f.Add(uint8(i), uint8(5), uint16(3), []byte("hi\nho\\n\r\n.\r\n\xc0\xdb\xdc\xc0\x10\x02a\x10\x03~}~"))
		f.Add(uint8(i), uint8(30), uint16(0x1234), []byte("a\r\n..b\r\n.\r\n<<x\x00\r\nxaay\\end\\f\xff\xff\xff\xef\x02a\x03"))
	}
	f.Fuzz(func(t *testing.T, which, limit uint8, cuts uint16, wire []byte) {
		if len(wire) > 1<<12 {
			return
		}
		options, maxFrame := fuzzed[int(which)%len(fuzzed)], 1+int(limit)
		codec, err := codeccall.Configure(Codec, json.RawMessage(options), maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		payloads, want := decodeIn(t, codec, wire, func() int { return len(wire) })
		_, each := decodeIn(t, codec, wire, func() int { return 1 })
		random := uint32(cuts)
		_, some := decodeIn(t, codec, wire, func() int {
			random = random*1664525 + 1013904223
			return 1 + int(random>>24)%11
		})
		if !slices.Equal(each, want) || !slices.Equal(some, want) {
			t.Errorf("options %s, max_frame %d, wire %q:\n in one piece  %q\n byte by byte %q\n in pieces    %q",
				options, maxFrame, wire, want, each, some)
		}
		for _, p := range payloads {
			backAgain(t, codec, p)
		}
	})
}

// decodeIn decodes wire, which arrives in pieces, and goes on after faults. It returns the payloads, and all events with their
// places in the stream.
func decodeIn(t *testing.T, codec codeccall.Codec, wire []byte, piece func() int) (payloads [][]byte, events []string) {
	properties := codec.Properties()
	direction := codec.Open()
	defer direction.Close()
	var out codeccall.Decoded
	var state []byte
	from, shown, examined, skipped := 0, 0, 0, 0 // stream offsets, except for skipped
	for {
		in := codeccall.Decode{Wire: wire[from:shown], Examined: examined - from, EOF: shown == len(wire), State: state, Room: properties.MaxFrame}
		if err := direction.Decode(context.Background(), &in, &out); err != nil {
			t.Fatalf("wire %q from offset %d, state %x: %v", wire[:shown], from, state, err)
		}
		for _, r := range out.Refs {
			all := append(slices.Clone(in.Wire), out.Data...)
			payloads = append(payloads, all[r.Off:r.Off+r.Len])
			events = append(events, fmt.Sprintf("payload %q", all[r.Off:r.Off+r.Len]))
		}
		state, skipped = slices.Clone(out.State), skipped+out.Skipped
		begin := from
		from, examined = from+out.Consumed, from+out.Examined
		switch fault := out.Fault; {
		case fault != nil:
			events = append(events, fmt.Sprintf("%v at %d of the frame at %d, want %s, resume at %d",
				fault.Err, begin+fault.At, begin+fault.Offset, fault.Want, begin+fault.Resume))
			if fault.Resume == codecs.Never {
				t.Fatalf("wire %q: %v can't be skipped", wire, fault)
			}
			from = begin + fault.Resume
			examined = from
			if from == len(wire) && in.EOF {
				return payloads, append(events, fmt.Sprint("skipped ", skipped))
			}
		case out.More:
		case in.EOF:
			return payloads, append(events, fmt.Sprint("skipped ", skipped))
		default:
			shown = min(len(wire), shown+piece())
		}
	}
}

// backAgain checks that payload is either refused or written as a frame that is read back as the same payload.
func backAgain(t *testing.T, codec codeccall.Codec, payload []byte) {
	direction := codec.Open()
	defer direction.Close()
	properties := codec.Properties()
	in := codeccall.Encode{Wire: payload, Refs: []codecs.Ref{{Len: uint32(len(payload))}}, Room: properties.MaxWire, EOF: true}
	var out codeccall.Encoded
	if err := direction.Encode(context.Background(), &in, &out); err != nil {
		t.Fatalf("payload %q: %v", payload, err)
	}
	if out.Fault != nil {
		return
	}
	back, events := decodeIn(t, codec, out.Wire, func() int { return len(out.Wire) })
	if len(back) != 1 || string(back[0]) != string(payload) {
		t.Errorf("payload %q was written as %q, which reads as %q", payload, out.Wire, events)
	}
}

package codeccall

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
)

// TestCheckDecode has one row for each rule about a decode's result. The call is shown 12 bytes; the codec's payloads have at
// most 10 bytes and its frames at most 12.
func TestCheckDecode(t *testing.T) {
	const shown, maxFrame, maxWire = 12, 10, 12
	fault := func(change func(f *codecs.Fault)) Decoded {
		f := &codecs.Fault{Offset: 2, At: 3, Err: codecs.ErrMalformed, Want: "LF", Resume: 4}
		change(f)
		return Decoded{Consumed: 2, Examined: 2, Fault: f}
	}
	atEnd := func(out Decoded) Decoded {
		out.Fault.Err, out.Fault.At, out.Fault.Resume = codecs.ErrTruncated, shown, codecs.Never
		return out
	}
	same := func(*codecs.Fault) {}
	tests := []struct {
		name  string
		in    Decode // without Wire and Room
		out   Decoded
		wrong string // part of the message; "": the result is valid
	}{
		{"nothing", Decode{}, Decoded{}, ""},
		{"a payload and the rest", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 1, Len: 2}}, Consumed: 4, Examined: 12}, ""},
		{"payloads side by side", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 0, Len: 2}, {Off: 2, Len: 2}}, Consumed: 4, Examined: 4}, ""},
		{"payloads here and there", Decode{},
			Decoded{Refs: []codecs.Ref{{Off: 12, Len: 2}, {Off: 1, Len: 1}, {Off: 14, Len: 3}}, Data: make([]byte, 5), Consumed: 4, Examined: 4}, ""},
		{"consumed less than nothing", Decode{}, Decoded{Consumed: -1}, "consumed -1 of 12 bytes"},
		{"consumed too much", Decode{}, Decoded{Consumed: 13, Examined: 13}, "consumed 13 of 12 bytes"},
		{"examined too little", Decode{}, Decoded{Consumed: 2, Examined: 1}, "examined 1, not between consumed 2 and 12"},
		{"examined too much", Decode{}, Decoded{Examined: 13}, "examined 13, not between consumed 0 and 12"},
		{"an empty payload for each byte", Decode{}, Decoded{Refs: make([]codecs.Ref, 2), Consumed: 2, Examined: 2}, ""},
		{"more empty payloads than bytes", Decode{}, Decoded{Refs: make([]codecs.Ref, 3), Consumed: 2, Examined: 2}, "3 payloads and 0 frames skipped in 2"},
		{"skipped less than none", Decode{}, Decoded{Skipped: -1}, "-1 frames skipped"},
		{"skipped a frame for a payload's byte", Decode{},
			Decoded{Refs: make([]codecs.Ref, 1), Skipped: 2, Consumed: 2, Examined: 2}, "1 payloads and 2 frames skipped in 2"},
		{"skipped frames in bytes that are dropped", Decode{State: []byte{1}},
			Decoded{Skipped: 2, Dropped: 3, Consumed: 4, Examined: 4}, "2 frames skipped in 1 of 4"},
		{"payloads in bytes that are dropped", Decode{State: []byte{1}},
			Decoded{Refs: make([]codecs.Ref, 2), Dropped: 3, Consumed: 4, Examined: 4}, "2 payloads and 0 frames skipped in 1 of 4"},
		{"payloads in bytes of a skipped fault", Decode{Skips: 1},
			Decoded{Refs: make([]codecs.Ref, 3), Consumed: 6, Examined: 6,
				SkippedFaults: []SkippedFault{{Fault: codecs.Fault{Offset: 2, At: 3, Err: codecs.ErrMalformed, Resume: 4}, Payloads: 3}}},
			"3 payloads in 2 bytes before the skipped fault at 2"},
		{"frames skipped in bytes of a skipped fault", Decode{Skips: 1},
			Decoded{Skipped: 5, Consumed: 6, Examined: 6,
				SkippedFaults: []SkippedFault{{Fault: codecs.Fault{Offset: 2, At: 3, Err: codecs.ErrMalformed, Resume: 4}}}},
			"5 frames skipped in 4 of 6"},
		{"built too much", Decode{}, Decoded{Data: make([]byte, 6)}, "6 bytes built in room for 5"},
		{"much state", Decode{}, Decoded{State: make([]byte, 257)}, "state of 257 bytes"},
		{"a long payload", Decode{}, Decoded{Refs: []codecs.Ref{{Len: 11}}, Consumed: 12, Examined: 12}, "payload 0 has 11 bytes, more than 10"},
		{"a payload that was not consumed", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 3, Len: 2}}, Consumed: 4, Examined: 4}, "payload 0 lies at 3..5"},
		{"payloads that overlap", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 0, Len: 2}, {Off: 1, Len: 2}}, Consumed: 4, Examined: 4},
			"payload 1 lies at 1..3"},
		{"a payload that ends beyond 4 GiB", Decode{}, Decoded{Refs: []codecs.Ref{{Off: math.MaxUint32, Len: 2}}, Consumed: 4, Examined: 4},
			"payload 0 lies at 4294967295..4294967297"},
		{"an empty payload nowhere", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 13}}, Consumed: 4, Examined: 4}, "payload 0 lies at 13..13"},
		{"a payload across", Decode{}, Decoded{Refs: []codecs.Ref{{Off: 11, Len: 2}}, Data: make([]byte, 2), Consumed: 12, Examined: 12},
			"payload 0 lies at 11..13"},

		{"more, with progress", Decode{}, Decoded{Consumed: 1, Examined: 1, More: true, RoomNeeded: 3}, ""},
		{"more, with room that helps", Decode{}, Decoded{More: true, RoomNeeded: 6}, ""},
		{"more, with room that there is", Decode{}, Decoded{More: true, RoomNeeded: 5}, "no progress in room for 5 bytes, 5 needed"},
		{"more, with room for no payload", Decode{}, Decoded{More: true, RoomNeeded: 11}, "room of 11 bytes needed, more than 10"},
		{"more, with room below nothing", Decode{}, Decoded{More: true, RoomNeeded: -1}, "room of -1 bytes needed"},
		{"more, with more room than was needed", Decode{RoomNeeded: 5}, Decoded{More: true, RoomNeeded: 6},
			"no progress in room for 5 bytes, of which 5 were needed: now 6 are"},
		{"more, with the room that was needed not given", Decode{RoomNeeded: 6}, Decoded{More: true, RoomNeeded: 7}, ""},
		{"more and a fault", Decode{}, func() Decoded { out := fault(same); out.More = true; return out }(), "more and a fault at once"},

		{"a need", Decode{}, Decoded{Need: 12}, ""},
		{"a need of one more than a frame", Decode{}, Decoded{Need: 13}, ""},
		{"a need of two more than a frame", Decode{}, Decoded{Need: 14}, "needs 14 bytes, but the longest frame has 12"},
		{"a need below nothing", Decode{}, Decoded{Need: -1}, "needs -1 bytes"},
		{"a need after consumed bytes", Decode{}, Decoded{Consumed: 5, Examined: 5, Need: 14}, "needs 14 bytes, but the longest frame has 12"},
		{"a need that does not matter: more", Decode{}, Decoded{Consumed: 1, Examined: 1, More: true, Need: 99}, ""},
		{"a need that does not matter: the end", Decode{EOF: true}, Decoded{Consumed: 12, Examined: 12, Need: 99}, ""},
		{"a need that does not matter: a fault", Decode{}, func() Decoded { out := fault(same); out.Need = 99; return out }(), ""},
		{"a need that is met", Decode{Need: 12}, Decoded{Consumed: 12, Examined: 12, Refs: []codecs.Ref{{Len: 10}}}, ""},
		{"a need that was too large: a payload", Decode{Need: 13, EOF: true},
			Decoded{Consumed: 12, Examined: 12, Refs: []codecs.Ref{{Len: 10}}}, "found 1 payloads in 12 bytes, after it needed 13"},
		{"a need that was too large: bytes", Decode{Need: 13}, Decoded{Consumed: 1, Examined: 1}, "consumed 1 bytes in 12 bytes, after it needed 13"},
		{"a need that was too large: a fault", Decode{Need: 13, EOF: true}, Decoded{Fault: fault(same).Fault},
			"found a fault (malformed frame) in 12 bytes, after it needed 13"},
		{"a need that was too large: room", Decode{Need: 13}, Decoded{More: true, RoomNeeded: 6}, "asked for room in 12 bytes, after it needed 13"},
		{"a need that was right: truncated", Decode{Need: 13, EOF: true}, func() Decoded {
			out := atEnd(fault(same))
			out.Consumed, out.Examined, out.Fault.Offset = 0, 0, 0
			return out
		}(), ""},

		{"the end", Decode{EOF: true}, Decoded{Consumed: 12, Examined: 12}, ""},
		{"the end, left", Decode{EOF: true}, Decoded{Consumed: 11, Examined: 12}, "consumed 11 of 12 bytes at the end of the stream"},

		{"a fault", Decode{}, fault(same), ""},
		{"a fault never to go on after", Decode{}, fault(func(f *codecs.Fault) { f.Resume = codecs.Never }), ""},
		{"a fault far ahead", Decode{}, fault(func(f *codecs.Fault) { f.Resume = 1 << 40 }), ""},
		{"a fault beyond all streams", Decode{}, fault(func(f *codecs.Fault) { f.Resume = math.MaxInt }), "resume at 9223372036854775807"},
		{"a fault below never", Decode{}, fault(func(f *codecs.Fault) { f.Resume = -2 }), "resume at -2 of a frame at 2"},
		{"a fault on the spot", Decode{}, fault(func(f *codecs.Fault) { f.Resume = 2 }), "resume at 2 of a frame at 2"},
		{"a fault in what was consumed", Decode{}, fault(func(f *codecs.Fault) { f.Offset = 1 }), "fault at 3 of a frame at 1, not between consumed 2"},
		{"a fault before its frame", Decode{}, fault(func(f *codecs.Fault) { f.At = 1 }), "fault at 1 of a frame at 2"},
		{"a fault beyond what was shown", Decode{}, fault(func(f *codecs.Fault) { f.At = 13 }), "fault at 13 of a frame at 2"},
		{"a fault of no kind", Decode{}, fault(func(f *codecs.Fault) { f.Err = nil }), "unknown kind"},
		{"a fault of another kind", Decode{}, fault(func(f *codecs.Fault) { f.Err = codecs.ErrNoRoom }), "unknown kind"},
		{"a fault of an encoder", Decode{}, fault(func(f *codecs.Fault) { f.Err = codecs.ErrUnrepresentable }), "decoding is at fault for"},
		{"a fault of many words", Decode{}, fault(func(f *codecs.Fault) { f.Want = strings.Repeat("w", 201) }), "wants 201 bytes of text"},
		{"truncated", Decode{EOF: true}, atEnd(fault(same)), ""},
		{"truncated, resumed at the end", Decode{EOF: true}, func() Decoded { out := atEnd(fault(same)); out.Fault.Resume = 12; return out }(), ""},
		{"truncated before the end", Decode{}, atEnd(fault(same)), "truncated at 12 of 12 bytes (eof false)"},
		{"truncated at another byte", Decode{EOF: true}, func() Decoded { out := atEnd(fault(same)); out.Fault.At = 11; return out }(),
			"truncated at 11 of 12 bytes (eof true)"},
		{"truncated, resumed within", Decode{EOF: true}, func() Decoded { out := atEnd(fault(same)); out.Fault.Resume = 11; return out }(),
			"truncated at 12 of 12 bytes (eof true), resume at 11"},
		{"too long by its length", Decode{}, fault(func(f *codecs.Fault) { f.Err, f.Announced = codecs.ErrTooLong, 11 }), ""},
		{"too long by a length that may be", Decode{}, fault(func(f *codecs.Fault) { f.Err, f.Announced = codecs.ErrTooLong, 10 }),
			"announces 10 bytes, of which 10 may be"},
		{"malformed by its length", Decode{}, fault(func(f *codecs.Fault) { f.Announced = 11 }), "a fault (malformed frame) of a frame that announces 11 bytes"},
	}
	for _, tt := range tests {
		in := tt.in
		in.Wire, in.Room = make([]byte, shown), 5
		p := &Properties{MaxFrame: maxFrame, MaxWire: maxWire}
		hold(t, tt.name, in.Check(p, &tt.out), tt.wrong)
		if waits := !tt.out.More && tt.out.Fault == nil && !in.EOF; tt.wrong == "" && tt.out.Need > 0 && !waits {
			t.Errorf("%s: got a need of %d bytes, want none, since no more are waited for", tt.name, tt.out.Need)
		}
		if tt.wrong == "" && tt.out.RoomNeeded > 0 && tt.out.Consumed > 0 {
			t.Errorf("%s: got room of %d bytes needed, want none, since there was progress", tt.name, tt.out.RoomNeeded)
		}
	}
}

// A frame that is unfinished beyond its longest wire is too long, even if its codec waits for more bytes.
func TestCheckUnfinishedFrame(t *testing.T) {
	p := &Properties{MaxFrame: 10, MaxWire: 12}
	for _, need := range []int{0, 14, 1000} {
		out := Decoded{Consumed: 1, Examined: 14, Need: need}
		if err := (&Decode{Wire: make([]byte, 14)}).Check(p, &out); err != nil {
			t.Fatal(err)
		}
		if out.Fault == nil || *out.Fault != *p.TooLong(1) || out.Need != 0 {
			t.Errorf("13 bytes of a frame that has at most 12, of which %d are needed: got %v, want %v", need, out.Fault, p.TooLong(1))
		}
	}
}

// TestCheckEncode has one row for each rule about an encode's result. The call has two payloads of 3 bytes and an empty one; the
// codec's frames have at most 12 bytes.
func TestCheckEncode(t *testing.T) {
	unrepresentable := func(at int) *codecs.Fault {
		return &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "letters"}
	}
	tests := []struct {
		name  string
		eof   bool
		out   Encoded
		wrong string
	}{
		{"all", false, Encoded{Wire: make([]byte, 9), Ends: []uint32{4, 8, 9}}, ""},
		{"all, the empty one skipped", false, Encoded{Wire: make([]byte, 8), Ends: []uint32{4, 8, 8}}, ""},
		{"another one skipped", false, Encoded{Wire: make([]byte, 5), Ends: []uint32{4, 4, 5}}, "nothing was written for payload 1, which has 3 bytes"},
		{"the first one skipped", false, Encoded{Wire: make([]byte, 5), Ends: []uint32{0, 4, 5}}, "nothing was written for payload 0, which has 3 bytes"},
		{"too many frames", false, Encoded{Wire: make([]byte, 9), Ends: []uint32{3, 6, 8, 9}}, "took 4 of 3 payloads"},
		{"too few frames", false, Encoded{Wire: make([]byte, 8), Ends: []uint32{4, 8}}, "took 2 of 3 payloads without asking for more room"},
		{"too few frames, for want of room", false, Encoded{Wire: make([]byte, 8), Ends: []uint32{4, 8}, More: true}, ""},
		{"frames that run back", false, Encoded{Wire: make([]byte, 9), Ends: []uint32{4, 3, 9}}, "frame 1 ends at 3, not between 4 and 9"},
		{"frames beyond the wire", false, Encoded{Wire: make([]byte, 9), Ends: []uint32{4, 8, 10}}, "frame 2 ends at 10, not between 8 and 9"},
		{"a long frame", false, Encoded{Wire: make([]byte, 15), Ends: []uint32{13, 14, 15}}, "frame 0 has 13 bytes, more than 12"},
		{"more than the room", false, Encoded{Wire: make([]byte, 21), Ends: []uint32{7, 14, 21}}, "21 bytes written in room for 20"},
		{"much state", false, Encoded{State: make([]byte, 257)}, "state of 257 bytes"},
		{"wire after the last frame", false, Encoded{Wire: make([]byte, 10), Ends: []uint32{4, 8, 9}}, "1 bytes are written after the last frame"},
		{"wire after the last frame, at the end", true, Encoded{Wire: make([]byte, 10), Ends: []uint32{4, 8, 9}}, ""},
		{"wire after a frame that is not the last, at the end", true, Encoded{Wire: make([]byte, 10), Ends: []uint32{4, 8}, More: true},
			"2 bytes are written after the last frame"},
		{"wire and no frame", false, Encoded{Wire: make([]byte, 3), More: true, RoomNeeded: 21}, "room of 21 bytes needed, more than 12"},
		{"more, for want of the room that there is", false, Encoded{More: true, RoomNeeded: 12}, "no progress in room for 20 bytes, 12 needed"},
		{"more and a fault", false, Encoded{More: true, Fault: unrepresentable(0)}, "more and a fault at once"},
		{"a fault", false, Encoded{Wire: make([]byte, 4), Ends: []uint32{4}, Fault: unrepresentable(3)}, ""},
		{"a fault and wire after the last frame", false, Encoded{Wire: make([]byte, 5), Ends: []uint32{4}, Fault: unrepresentable(3)},
			"1 bytes are written after the last frame"},
		{"a fault after its payload", false, Encoded{Fault: unrepresentable(4)}, "fault at 4 of a payload of 3 bytes"},
		{"a fault of no payload", false, Encoded{Wire: make([]byte, 9), Ends: []uint32{4, 8, 9}, Fault: unrepresentable(0)}, "a fault after the last payload"},
		{"a fault of a decoder", false, Encoded{Fault: &codecs.Fault{Err: codecs.ErrMalformed}}, "encoding is at fault for malformed"},
	}
	for _, tt := range tests {
		in := &Encode{Data: make([]byte, 6), Refs: []codecs.Ref{{Len: 3}, {Off: 3, Len: 3}, {}}, Room: 20, EOF: tt.eof}
		hold(t, tt.name, in.Check(&Properties{MaxFrame: 10, MaxWire: 12}, &tt.out), tt.wrong)
	}
}

// hold fails the test unless err wraps ErrMisbehaved and contains this text, or is nil if the text is empty.
func hold(t *testing.T, name string, err error, wrong string) {
	t.Helper()
	switch {
	case wrong == "" && err == nil:
	case wrong == "" || err == nil || !errors.Is(err, ErrMisbehaved) || !strings.Contains(err.Error(), wrong):
		t.Errorf("%s: got %v, want %q", name, err, wrong)
	}
}

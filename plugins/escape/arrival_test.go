package escape

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

func TestArrival(t *testing.T) {
	tests := []struct { // in wire, '|' marks where one read ends and the next begins
		name, options, wire string
		maxFrame            int
		want                []string // payloads in quotes, and faults
	}{
		{name: "read cut inside an escape pair", wire: `a\|nb` + "\n", want: []string{`"a\nb"`}},
		{name: "read cut after an escaped escape", wire: `a\\|n` + "\n", want: []string{`"a\\n"`}},
		{name: "read cut inside a terminator", options: crlf, wire: "a\r|\nb\r\n", want: []string{`"a"`, `"b"`}},
		{name: "read cut inside what looks like a terminator", options: mllp, wire: "\x0ba\x1c|\x1c|\r", want: []string{`"a\x1c"`}},
		{name: "payload that ends like its terminator", wire: `a\n` + "|\n", want: []string{`"a\n"`}},
		{name: "read cut inside start", options: dleSTX, wire: "\x10|\x02a\x10|\x03", want: []string{`"a"`}},
		{name: "read cut inside an abort", options: ppp, wire: "~a}|~b~", want: []string{`"b"`}},
		{name: "read cut inside the last line", options: smtpData, wire: "a\r|\n.|\r|\n", want: []string{`"a\r\n"`}},
		{name: "end of stream inside a frame", wire: "hi\n|ho", want: []string{`"hi"`, "truncated frame at 5 of 3"}},
		{name: "end of stream between frames", wire: "hi\n|", want: []string{`"hi"`}},
		{name: "frames after one that is too long", maxFrame: 3, options: crlf, wire: "abc|d\r|\nabc\r\n",
			want: []string{"frame too long at 3 of 0", `"abc"`}},
		{name: "frames after one that never seems to end", maxFrame: 3, wire: `\n\n\n|` + `\n\n\n\n\n\n|\n\|\|` + "\nabc\n",
			want: []string{"frame too long at 7 of 0", `"abc"`}},
		{name: "frames after a broken one", options: slip, wire: "\xc0a\xdb|b\xc0|\xc0c\xc0",
			want: []string{"malformed frame at 3 of 1", `"c"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			codec, err := codeccall.Configure(Codec, json.RawMessage(tt.options), max(tt.maxFrame, 3))
			if err != nil {
				t.Fatal(err)
			}
			pieces := strings.Split(tt.wire, "|")
			wire := strings.Join(pieces, "")
			got := brief(t, codec, wire, func() int {
				n := len(pieces[0])
				pieces = pieces[1:]
				return n
			})
			if whole := brief(t, codec, wire, func() int { return len(wire) }); !slices.Equal(got, whole) {
				t.Errorf("wire %q:\n got           %q\n in one piece  %q", tt.wire, got, whole)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("wire %q:\n got  %q\n want %q", tt.wire, got, tt.want)
			}
		})
	}
}

// brief decodes wire as decodeIn does, and returns the events in few words.
func brief(t *testing.T, codec codeccall.Codec, wire string, piece func() int) []string {
	_, events := decodeIn(t, codec, []byte(wire), piece)
	for i, e := range events {
		e, _, _ = strings.Cut(strings.TrimPrefix(e, "payload "), ", want")
		events[i] = strings.Replace(e, "of the frame at ", "of ", 1)
	}
	return events[:len(events)-1]
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, options := range []string{``, newline, crlf, slip, ppp, dleSTX, smtpData} {
		f, _, err := Codec.Configure(json.RawMessage(options), 1024)
		if err != nil {
			t.Fatal(err)
		}
		batch := &codeccall.Encode{Room: 1 << 16}
		for i := range 100 {
			payload := fmt.Sprintf(".%d}\x7d\xdb\x10\xff\\\r\n", i)
			if options == newline || options == crlf {
				payload = fmt.Sprint(i)
			}
			batch.Refs = append(batch.Refs, codecs.Ref{Off: uint32(len(batch.Wire)), Len: uint32(len(payload))})
			batch.Wire = append(batch.Wire, payload...)
		}
		var encoder, decoder codeccall.Runner
		var encoded codeccall.Encoded
		var decoded codeccall.Decoded
		allocs := testing.AllocsPerRun(20, func() {
			if err := encoder.Encode(f, batch, &encoded); err != nil || encoded.Taken() != 100 {
				t.Fatalf("options %s: got %v, %v, %d payloads taken, want 100", options, err, encoded.Fault, encoded.Taken())
			}
			shown := codeccall.Decode{Wire: encoded.Wire, Room: 1 << 16}
			if err := decoder.Decode(f, 1024, &shown, &decoded); err != nil || len(decoded.Refs) != 100 {
				t.Fatalf("options %s: got %v, %v, %d payloads, want 100", options, err, decoded.Fault, len(decoded.Refs))
			}
		})
		if allocs > 0 {
			t.Errorf("options %s: got %v allocations for 100 frames each way, want none", options, allocs)
		}
	}
}

package swapterm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
	"github.com/framehost/framehost/plugins/swapterm"
)

const redisEOF = `{"declare": "always", "marker": "$EOF:", "length": 40, "suffix": "CRLF", "choose": "random",
	"pool": ["0123456789", "61-66"]}`

func TestSuite(t *testing.T) { codectest.Run(t, swapterm.Codec, suite()...) }

// suite runs codectest: all of it in this process, a part in another process.
func suite() []codectest.Case {
	fault := func(err error, offset, at int) *codecs.Fault { return &codecs.Fault{Err: err, Offset: offset, At: at} }
	all := strings.Builder{}
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	return []codectest.Case{
		{
			Name:   "defaults",
			Accept: []string{"hi", "a\nb", "\x1b", "\x1bhi", "\n", "|\n", strings.Repeat("\n|", 300)},
			Refuse: []string{all.String(), all.String() + "more"},
			Frames: []codectest.Frame{
				{Payload: "hi", Wire: "hi\n"}, {Payload: "a\nb", Wire: "\x1b|a\nb|"}, {Payload: "a\x1b", Wire: "a\x1b\n"},
				{Payload: "|\n", Wire: "\x1b!|\n!"}, {Payload: "", Wire: "\n"},
			},
			Wires: []codectest.Wire{
				{Wire: "hi\n\x1b.a\nb.ho\n", Want: []string{"hi", "a\nb", "ho"}},
				{Wire: "\x1b\nhi\nho\n", Want: []string{"hi", "ho"}},
				{Wire: "\n\x1b..hi\n", Want: []string{"", "", "hi"}},
				{Wire: "hi\nho", Want: []string{"hi"}, Fault: fault(codecs.ErrTruncated, 3, 5)},
				{Wire: "hi\n\x1b", Want: []string{"hi"}, Fault: fault(codecs.ErrTruncated, 3, 4)},
				{Wire: "hi\n\x1b.ho\n", Want: []string{"hi"}, Fault: fault(codecs.ErrTruncated, 3, 8)},
			},
		},
		{
			Name: "empty skipped", Options: `{"empty": "skip"}`,
			Frames: []codectest.Frame{{Payload: "", Wire: ""}, {Payload: "hi", Wire: "hi\n"}},
			Wires:  []codectest.Wire{{Wire: "\n\n\x1b..hi\n", Want: []string{"hi"}}},
		},
		{
			Name: "too long", MaxFrame: 4, Options: `{"length": 2, "empty": "deliver"}`,
			Wires: []codectest.Wire{
				{Wire: "\n1234\n12345\n\x1b::1234::", Want: []string{"", "1234"}, Fault: fault(codecs.ErrTooLong, 6, 10), Rest: []string{"1234"}},
				{Wire: "\x1b::1234:\nhi::ho\n", Fault: fault(codecs.ErrTooLong, 0, 8), Rest: []string{"ho"}},
				{Wire: "\x1b::12345::ho\n", Fault: fault(codecs.ErrTooLong, 0, 8), Rest: []string{"ho"}},
				{Wire: "\x1b::1234:", Fault: fault(codecs.ErrTruncated, 0, 8)},
				{Wire: "12345", Fault: fault(codecs.ErrTooLong, 0, 4)},
			},
		},
		{
			Name: "a terminator that overlaps itself", Options: `{"terminator": "aa", "marker": "ab", "length": 2, "pool": ["a", "b"], "empty": "deliver"}`,
			Accept: []string{"", "x", "xa", "ab", "abx", "a", "ba"},
			Refuse: []string{"aabbab", "abbaa"},
			Frames: []codectest.Frame{
				{Payload: "x", Wire: "xaa"},
				{Payload: "xa", Wire: "abbaxaba"}, // "xaaa" would be read as "x" and an "a"
			},
			Sized: func(n int) []byte { return bytes.Repeat([]byte("x"), n) },
		},
		{
			Name: "a terminator amid the marker", Options: `{"terminator": "E", "marker": "$EOF", "empty": "deliver"}`,
			Accept: []string{"$", "", "$EO", "E", "$EOF"},
			Frames: []codectest.Frame{{Payload: "$", Wire: "$EOF|$|"}},
			Wires: []codectest.Wire{
				{Wire: "$EOF.hi.", Want: []string{"hi"}},
				{Wire: "$EE$Eho.E", Want: []string{"$", "", "$", "ho."}},
				{Wire: "hE$E", Want: []string{"h"}, Fault: fault(codecs.ErrTruncated, 2, 4)}, // the beginning of a declaration
			},
		},
		{
			Name: "suffix, always", Options: `{"declare": "always", "marker": "<<", "suffix": ">>", "length": 3, "pool": "printable", "empty": "refuse"}`,
			Accept: []string{"hi", "a\nb", "<<", "|||"}, Refuse: []string{""},
			Frames: []codectest.Frame{{Payload: "hi", Wire: "<<|||>>hi|||"}},
			Wires: []codectest.Wire{
				{Wire: "<<abc>>hiabchi\n", Want: []string{"hi"}, Fault: fault(codecs.ErrMalformed, 12, 12)},
				{Wire: "<-", Fault: fault(codecs.ErrMalformed, 0, 1)},
				{Wire: "<", Fault: fault(codecs.ErrTruncated, 0, 1)},
				{Wire: "<<abc>-", Fault: fault(codecs.ErrMalformed, 0, 6)},
				{Wire: "<<abc>>abc<<abc>>hoabc", Fault: fault(codecs.ErrMalformed, 0, 9), Rest: []string{"ho"}},
			},
		},
		{
			Name: "scope stream", Options: `{"scope": "stream"}`,
			Accept: []string{"hi", "a\nb", "\x1b", "|", "\n"},
			Frames: []codectest.Frame{{Payload: "a\nb", Wire: "\x1b|a\nb|"}},
			Wires: []codectest.Wire{
				{Wire: "hi\n\x1b|a\nb|hi|\nho|\x1b\nhi\nho\n", Want: []string{"hi", "a\nb", "hi", "\nho", "hi", "ho"}},
				{Wire: "\x1b\x1bhi\x1b", Fault: fault(codecs.ErrMalformed, 0, 1)},
			},
		},
		{
			Name: "scope stream, a long marker and a longer terminator", MaxFrame: 300,
			Options: `{"scope": "stream", "terminator": "CRLF", "marker": "aab", "suffix": "a", "length": 5, "pool": ["ab"], "empty": "deliver"}`,
			Accept:  []string{"hi", "\r\n", "aab", "ababababab\r\n"},
			Wires: []codectest.Wire{
				{Wire: "aabbbbbba\r\nbbbbb\r\nbbbbb", Want: []string{"\r\n", "\r\n"}},
				{Wire: "aabaabaaax", Fault: fault(codecs.ErrMalformed, 0, 7)},
			},
		},
		{
			Name: "scope stream, empty refused", MaxFrame: 5, Options: `{"scope": "stream", "empty": "refuse"}`,
			Wires: []codectest.Wire{
				{Wire: "\x1b..hi.123456.ho.", Fault: fault(codecs.ErrMalformed, 0, 2), Rest: []string{"hi", "ho"}},
				{Wire: "\x1b.123456.ho.", Fault: fault(codecs.ErrTooLong, 0, 7), Rest: []string{"ho"}},
			},
		},
		{Name: "random", Options: `{"choose": "random"}`, Accept: []string{"hi", "a\nb", all.String()[:255]}, Refuse: []string{all.String()}},
		{
			Name: "redis-eof", Options: redisEOF, Accept: []string{"REDIS0011", "$EOF:"},
			Wires: []codectest.Wire{{
				Wire: "$EOF:0123456789abcdef0123456789abcdef01234567\r\nREDIS0011" + "0123456789abcdef0123456789abcdef01234567",
				Want: []string{"REDIS0011"},
			}},
		},
	}
}

func TestOptions(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := []struct {
		options string
		want    []string // options at fault in the error; none: accepted
	}{
		{`{}`, nil},
		{`{"marker": "LF"}`, []string{"option marker: got LF, want neither it nor the terminator, LF, a prefix of the other"}},
		{`{"marker": "ab", "terminator": "abc"}`, []string{"option marker: got ab, want neither"}},
		{`{"marker": "LF", "declare": "always"}`, nil}, // because no frame uses the terminator then
		{`{"terminator": "", "marker": "", "length": 0, "suffix": "` + long + `"}`, []string{
			"option terminator: got 0 bytes, want 1 to 64 bytes", "option marker: got 0 bytes, want 1 to 64 bytes",
			"option suffix: got 65 bytes, want 0 to 64 bytes", "option length: got 0, want 1 to 64"}},
		{`{"length": 65, "declare": "never", "choose": "", "scope": "x", "empty": "drop"}`, []string{
			"option length: got 65, want 1 to 64", `option declare: got "never", want when_needed or always`,
			`option choose: got "", want absent or random`, `option scope: got "x", want frame or stream`,
			`option empty: got "drop", want deliver, skip or refuse`}},
		{`{"pool": "hex"}`, []string{`option pool: got "hex", want any, printable, or a list of bytes and ranges such as 30-39`}},
		{`{"pool": []}`, []string{"option pool: got [], want at least one byte"}},
		{`{"pool": ["39-30"]}`, []string{`option pool: got "39-30", want a range of two bytes in hex`}},
		{`{"pool": ["é"]}`, []string{"option pool: got \"é\", want a name, hex, or text up to U+007F"}},
		{`{"pool": 7}`, []string{"option pool: got 7, want any, printable, or a list"}},
		{`{"pool": ["30-39", "LF", "ab"]}`, nil},
	}
	for _, tt := range tests {
		_, _, err := swapterm.Codec.Configure(json.RawMessage(tt.options), 100)
		if err == nil != (tt.want == nil) {
			t.Errorf("options %s: got error %v, want %q", tt.options, err, tt.want)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("options %s: got error\n%v\nwant in it\n%s", tt.options, err, want)
			}
		}
		if e := (*codecs.OptionError)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("options %s: got error %v, want an OptionError", tt.options, err)
		}
	}
}

func TestOnlyStreamsThatMayBePlainUseState(t *testing.T) {
	for options, want := range map[string]bool{
		`{}`: false, `{"scope": "stream"}`: true, `{"scope": "stream", "declare": "always"}`: false,
	} {
		framing, _, err := swapterm.Codec.Configure(json.RawMessage(options), 100)
		if err != nil {
			t.Fatal(err)
		}
		if got := codecs.UsesState(framing); got != want {
			t.Errorf("options %s: got uses state %t, want %t", options, got, want)
		}
	}
}

func TestStateOfAnotherCodecIsNoFault(t *testing.T) {
	framing, _, err := swapterm.Codec.Configure(nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	var r codeccall.Runner
	for _, state := range []string{"\x01", "\x03x", "\x01" + strings.Repeat("x", 65)} {
		err := r.Decode(framing, 100, &codeccall.Decode{Wire: []byte("hi\n"), State: []byte(state)}, &codeccall.Decoded{})
		if !errors.Is(err, codeccall.ErrCodecFailed) {
			t.Errorf("decode with state %q: got %v, want %v", state, err, codeccall.ErrCodecFailed)
		}
	}
}

func benchmark(b *testing.B, options, payload string) {
	const frames = 64 << 10
	codec, _, err := swapterm.Codec.Configure(json.RawMessage(options), 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	var batch codeccall.Encode
	for len(batch.Wire) < frames {
		batch.Refs = append(batch.Refs, codecs.Ref{Off: uint32(len(batch.Wire)), Len: uint32(len(payload))})
		batch.Wire = append(batch.Wire, payload...)
	}
	batch.Room = 4 * frames
	var encoder, decoder codeccall.Runner
	var encoded codeccall.Encoded
	var decoded codeccall.Decoded
	if err := encoder.Encode(codec, &batch, &encoded); err != nil || encoded.Fault != nil {
		b.Fatal(err, encoded.Fault)
	}
	wire := codeccall.Decode{Wire: bytes.Clone(encoded.Wire), Room: frames}
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(batch.Wire)))
		b.ReportAllocs()
		for b.Loop() {
			if err := decoder.Decode(codec, 1<<20, &wire, &decoded); err != nil || len(decoded.Refs) != len(batch.Refs) {
				b.Fatal(err, len(decoded.Refs))
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(batch.Wire)))
		b.ReportAllocs()
		for b.Loop() {
			if err := encoder.Encode(codec, &batch, &encoded); err != nil || encoded.Taken() != len(batch.Refs) {
				b.Fatal(err, encoded.Taken())
			}
		}
	})
}

func BenchmarkPlain(b *testing.B)    { benchmark(b, `{}`, strings.Repeat("x", 256)) }
func BenchmarkDeclared(b *testing.B) { benchmark(b, `{}`, strings.Repeat("x\n", 128)) }
func BenchmarkRandom(b *testing.B)   { benchmark(b, redisEOF, strings.Repeat("x\n", 128)) }
func BenchmarkLongTerminator(b *testing.B) {
	benchmark(b, `{"declare": "always", "length": 4, "pool": ["0123"]}`, strings.Repeat("0123321012301", 20))
}

func FuzzDecode(f *testing.F) {
	options := []string{
		`{}`, `{"scope": "stream", "empty": "deliver"}`, `{"terminator": "aa", "marker": "ab", "length": 2, "pool": ["ab"]}`,
		`{"declare": "always", "suffix": "CRLF", "length": 2, "scope": "stream", "empty": "refuse"}`,
	}
	for i := range options {
		f.Add(uint8(i), []byte("hi\n\x1b|a\nb|ho\n"), uint8(3))
		f.Add(uint8(i), []byte("xaaababxaab\x1b##\r\nhi##"), uint8(9))
	}
	f.Fuzz(func(t *testing.T, which uint8, wire []byte, cut uint8) {
		const maxFrame = 8
		codec, err := codeccall.Configure(swapterm.Codec, json.RawMessage(options[int(which)%len(options)]), maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		whole := decode(t, codec, wire)
		if cut := int(cut); cut <= len(wire) {
			if parts := decode(t, codec, wire[:cut], wire[cut:]); parts != whole {
				t.Errorf("%q cut at %d: got %s, want %s", wire, cut, parts, whole)
			}
		}
	})
}

// decode returns the payloads of a stream that arrives in parts, up to the first fault.
func decode(t *testing.T, codec codeccall.Codec, parts ...[]byte) string {
	t.Helper()
	d := codec.Open()
	defer d.Close()
	var text strings.Builder
	var in codeccall.Decode
	offset := 0
	for i, part := range parts {
		in.Wire = append(in.Wire[:len(in.Wire):len(in.Wire)], part...)
		in.EOF = i == len(parts)-1
		var out codeccall.Decoded
		if err := d.Decode(t.Context(), &in, &out); err != nil {
			t.Fatalf("decode of %q: %v", in.Wire, err)
		}
		for _, r := range out.Refs {
			fmt.Fprintf(&text, "%q ", in.Wire[r.Off:r.Off+r.Len])
		}
		if f := out.Fault; f != nil {
			fmt.Fprintf(&text, "%v at %d of %d", f.Err, f.At+offset, f.Offset+offset)
			return text.String()
		}
		in.Wire, in.Examined, in.State = in.Wire[out.Consumed:], out.Examined-out.Consumed, out.State
		offset += out.Consumed
	}
	return text.String()
}

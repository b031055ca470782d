package base64

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
)

const (
	mime     = `{"wrap": 76, "terminator": "0x0D0A0D0A"}`
	narrow   = `{"wrap": 3, "line_end": "LF", "terminator": "CRLF"}`
	lenient  = `{"strict": false}`
	datagram = `{"terminator": ""}`
	raw      = `{"padding": "none"}`
	optional = `{"padding": "optional"}`
)

// rfc4648 are the test vectors of RFC 4648, section 10.
var rfc4648 = []struct{ payload, text string }{
	{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
}

func TestVectors(t *testing.T) {
	for _, v := range rfc4648 {
		unpadded := strings.TrimRight(v.text, "=")
		for options, text := range map[string]string{
			`{}`: v.text, `{"alphabet": "url"}`: v.text, raw: unpadded, optional: v.text, lenient: v.text,
		} {
			c := newStream(t, options, 100)
			if got := c.Encode(v.payload); got != text+"\n" {
				t.Errorf("%s: encode %q: got %q, want %q", options, v.payload, got, text+"\n")
			}
			if got, err := c.Decode(text + "\n"); err != nil || !slices.Equal(got, []string{v.payload}) {
				t.Errorf("%s: decode %q: got %q, %v, want %q", options, text, got, err, v.payload)
			}
		}
		if got, err := newStream(t, optional, 100).Decode(unpadded + "\n"); err != nil || !slices.Equal(got, []string{v.payload}) {
			t.Errorf("decode %q with optional padding: got %q, %v, want %q", unpadded, got, err, v.payload)
		}
	}
}

func TestFrames(t *testing.T) {
	line := strings.Repeat("QUJD", 19) // 57 bytes in 76 characters
	reversed := []byte(std)
	slices.Reverse(reversed)
	tests := []struct{ name, options, payload, wire string }{
		{"std alphabet", `{}`, "\xfb\xff\xfe", "+//+\n"},
		{"url alphabet", `{"alphabet": "url"}`, "\xfb\xff\xfe", "-__-\n"},
		{"an alphabet of one's own", fmt.Sprintf(`{"alphabet": %q}`, reversed), "\x00\x00\x00", "////\n"},
		{"an alphabet of bytes beyond ASCII", fmt.Sprintf(`{"alphabet": "0x%X", "padding": "none"}`, highBytes()),
			"\x00\x10\x83", "\xc0\xc1\xc2\xc3\n"},
		{"RFC 2045: less than a line", mime, "hi", "aGk=\r\n\r\n"},
		{"RFC 2045: one line", mime, strings.Repeat("ABC", 19), line + "\r\n\r\n"},
		{"RFC 2045: one line and a byte", mime, strings.Repeat("ABC", 19) + "A", line + "\r\nQQ==\r\n\r\n"},
		{"RFC 2045: two lines", mime, strings.Repeat("ABC", 38), line + "\r\n" + line + "\r\n\r\n"},
		{"RFC 2045: nothing", mime, "", "\r\n\r\n"},
		{"lines that end inside a group", narrow, "foobar", "Zm9\nvYm\nFy\r\n"},
		{"padding on two lines", narrow, "foob", "Zm9\nvYg\n==\r\n"},
		{"datagram", datagram, "foob", "Zm9vYg=="},
		{"PEM's width", `{"wrap": 64, "line_end": "LF", "terminator": "0x0A2D2D"}`, strings.Repeat("ABC", 17),
			strings.Repeat("QUJD", 16) + "\nQUJD\n--"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := newStream(t, tt.options, 200).Encode(tt.payload); got != tt.wire {
				t.Fatalf("encode %q:\n got  %q\n want %q", tt.payload, got, tt.wire)
			}
			for cut := range len(tt.wire) + 1 {
				got, err := newStream(t, tt.options, 200).Decode(tt.wire[:cut], tt.wire[cut:])
				if err != nil || !slices.Equal(got, []string{tt.payload}) {
					t.Fatalf("decode %q cut at %d: got %q, %v, want %q", tt.wire, cut, got, err, tt.payload)
				}
			}
		})
	}
}

func highBytes() (b []byte) {
	for c := 0xC0; c <= 0xFF; c++ {
		b = append(b, byte(c))
	}
	return b
}

func TestArrivals(t *testing.T) {
	tests := []struct { // in wire, '|' marks where one read ends and the next begins
		name, options, wire string
		want                []string
		fault               string
		maxFrame            int // 0: 10
	}{
		{"one read, two frames", `{}`, "aGk=\naG8=\n", []string{"hi", "ho"}, "", 0},
		{"read cut inside a group", `{}`, "aG|k=\n", []string{"hi"}, "", 0},
		{"read cut before the terminator", `{}`, "aGk=|\naG8=\n", []string{"hi", "ho"}, "", 0},
		{"read cut inside the terminator", mime, "aGk=\r\n|\r|\naG8=\r\n\r\n", []string{"hi", "ho"}, "", 0},
		{"empty frame", `{}`, "\naGk=\n\n", []string{"", "hi", ""}, "", 0},
		{"empty frame to be skipped", `{"empty": "skip"}`, "\naGk=\n\n", []string{"hi"}, "", 0},
		{"empty frame to be refused", `{"empty": "refuse"}`, "aGk=\n\naG8=\n", []string{"hi"},
			"malformed frame at offset 5 (frame begins at 5): want a payload of at least 1 byte", 0},
		{"end of stream inside a frame", `{}`, "aGk=\naG", []string{"hi"},
			"truncated frame at offset 7 (frame begins at 5): want LF after the text", 0},
		{"end of stream inside the terminator", mime, "aGk=\r\n\r", nil,
			"truncated frame at offset 7 (frame begins at 0): want 0x0D0A0D0A after the text", 0},
		{"end of stream after an odd byte", `{}`, "aG!=", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"end of a datagram", datagram, "aG|k=", []string{"hi"}, "", 0},
		{"datagram cut short", datagram, "aGk", nil,
			"malformed frame at offset 3 (frame begins at 0): want padding up to 4 characters", 0},
		{"odd byte", `{}`, "aGk=\naG|8!\naGk=\n", []string{"hi"},
			"malformed frame at offset 8 (frame begins at 5): want a base64 digit", 0},
		{"digit of another alphabet", `{}`, "aG_=\n", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"slash in the url alphabet", `{"alphabet": "url"}`, strings.Repeat("a/aa", 20) + "\n", nil,
			"malformed frame at offset 1 (frame begins at 0): want a base64 digit", 100},
		{"carriage return, which libraries pass over", `{}`, "aG\rk=\n", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"four of them", `{}`, "aGhp\r\r\r\r\n", nil,
			"malformed frame at offset 4 (frame begins at 0): want a base64 digit", 0},
		{"line feeds inside", `{"terminator": "NUL"}`, "aG\nhp\x00", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"no padding where it is required", `{}`, "aGk\n", nil,
			"malformed frame at offset 3 (frame begins at 0): want padding up to 4 characters", 0},
		{"half of the padding", optional, "aA=\n", nil,
			"malformed frame at offset 3 (frame begins at 0): want padding up to 4 characters", 0},
		{"padding where there is none", raw, "aGk=\n", nil,
			"malformed frame at offset 3 (frame begins at 0): want a base64 digit", 0},
		{"padding too early", `{}`, "a===\n", nil,
			"malformed frame at offset 1 (frame begins at 0): want a base64 digit", 0},
		{"too much padding", `{}`, "aGk==\n", nil,
			"malformed frame at offset 4 (frame begins at 0): want nothing after the padding", 0},
		{"nothing but padding", `{}`, "====\n", nil,
			"malformed frame at offset 0 (frame begins at 0): want a base64 digit", 0},
		{"digits after the padding", `{}`, "aA==aA==\n", nil,
			"malformed frame at offset 4 (frame begins at 0): want nothing after the padding", 0},
		{"one digit too many", raw, "aGhpa\n", nil,
			"malformed frame at offset 5 (frame begins at 0): want a base64 digit", 0},
		{"trailing bits, four", `{}`, "aB==\n", nil,
			"malformed frame at offset 1 (frame begins at 0): want a last digit whose unused bits are zero", 0},
		{"trailing bits, two", raw, "aGl\n", nil,
			"malformed frame at offset 2 (frame begins at 0): want a last digit whose unused bits are zero", 0},
		{"line too short", narrow, "Zm\n9vYm\nFy\r\n", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"line too long", narrow, "Zm9v\nYmF\ny\r\n", nil,
			"malformed frame at offset 3 (frame begins at 0): want LF after 3 characters", 0},
		{"another end of a line", mime, strings.Repeat("QUJD", 19) + "\nQQ==\r\n\r\n", nil,
			"malformed frame at offset 76 (frame begins at 0): want CRLF after 76 characters", 100},
		{"end of a line after the last", `{"wrap": 3, "line_end": "LF", "terminator": "CR"}`, "aGh\n\r", nil,
			"malformed frame at offset 4 (frame begins at 0): want another line after the end of a line", 0},
		{"line end alone", `{"wrap": 3, "line_end": "LF", "terminator": "CR"}`, "\n\r", nil,
			"malformed frame at offset 0 (frame begins at 0): want a base64 digit", 0},
		{"lenient: ends of lines anywhere", lenient, "\ra\r\r|Gk\r=\r\n", []string{"hi"}, "", 0},
		{"lenient: lines of any length", `{"wrap": 4, "terminator": "NUL", "strict": false}`,
			"Zm\n9vY\r\r\nmFy\r\n\x00", []string{"foobar"}, "", 0},
		{"lenient: trailing bits", lenient, "aB==\naGl=\n", []string{"h", "hi"}, "", 0},
		{"lenient: no other bytes", lenient, "aG k=\n", nil,
			"malformed frame at offset 2 (frame begins at 0): want a base64 digit", 0},
		{"lenient: padding as it must be", lenient, "aGk\n", nil,
			"malformed frame at offset 3 (frame begins at 0): want padding up to 4 characters", 0},
		{"lenient: nothing but ends of lines", lenient, "\r\r\n", []string{""}, "", 0},
		{"too long by one byte", `{}`, strings.Repeat("QUJD", 4) + "\n", nil,
			"frame too long at offset 14 (frame begins at 0): want a payload of at most 10 bytes", 0},
		{"too long, and endless", `{}`, strings.Repeat("QUJD", 40), nil,
			"frame too long at offset 14 (frame begins at 0): want a payload of at most 10 bytes", 0},
		{"endless padding", `{}`, "QQ==============================", nil,
			"malformed frame at offset 4 (frame begins at 0): want nothing after the padding", 0},
		{"lenient: endless ends of lines", lenient, strings.Repeat("\r", 40), nil,
			"frame too long at offset 32 (frame begins at 0): want a payload of at most 10 bytes", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, reads := range [][]string{strings.Split(tt.wire, "|"), strings.Split(strings.ReplaceAll(tt.wire, "|", ""), "")} {
				got, err := newStream(t, tt.options, cmp.Or(tt.maxFrame, 10)).Decode(reads...)
				if !slices.Equal(got, tt.want) || fault(err) != tt.fault {
					t.Errorf("decode %q:\n got  %q, %v\n want %q, %s", reads, got, err, tt.want, tt.fault)
				}
			}
		})
	}
}

// TestResume shows where decoding goes on, and that the next frame is found there.
func TestResume(t *testing.T) {
	tests := []struct {
		name, wire string
		resume     int
		discards   bool
	}{
		{"malformed: after the terminator", "a!!!\naGk=\n", 5, false},
		{"too long: after the terminator", "QUJDQUJDQUJDQUJD\naGk=\n", 17, false},
		{"far too long: discards up to the terminator", strings.Repeat("a", 100) + "\naGk=\n", 17, true},
		{"odd bytes without end: discards up to the terminator", strings.Repeat("!", 100) + "\naGk=\n", 17, true},
		{"truncated: at the end", "aG", 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newStream(t, `{}`, 10)
			_, err := c.Decode(tt.wire)
			f := (*codecs.Fault)(nil)
			if !errors.As(err, &f) || f.Resume != tt.resume || len(c.Last.State) > 0 != tt.discards {
				t.Fatalf("decode %q: got %+v, state %q, want resume at %d", tt.wire, err, c.Last.State, tt.resume)
			}
			rest := tt.wire[tt.resume:]
			for cut := range len(rest) {
				again := newStream(t, `{}`, 10)
				again.State = bytes.Clone(c.Last.State)
				if got, err := again.Decode(rest[:cut], rest[cut:]); err != nil || !slices.Equal(got, []string{"hi"}) {
					t.Fatalf("decode %q with state %q: got %q, %v, want \"hi\"", rest, c.Last.State, got, err)
				}
			}
		})
	}
}

func TestUnrepresentable(t *testing.T) {
	tests := []struct{ options, payload, want string }{
		{datagram, "", "payload cannot be represented: byte 0: want a payload of at least 1 byte"},
		{`{"empty": "refuse"}`, "", "payload cannot be represented: byte 0: want a payload of at least 1 byte"},
		{`{}`, strings.Repeat("a", 11),
			"frame too long at offset 10 (frame begins at 0): want a payload of at most 10 bytes"},
	}
	for _, tt := range tests {
		out := newStream(t, tt.options, 10).TryEncode(tt.payload)
		if out.Fault == nil || out.Fault.Error() != tt.want || len(out.Wire) > 0 {
			t.Errorf("%s: encode %q: got %q, %v, want %s", tt.options, tt.payload, out.Wire, out.Fault, tt.want)
		}
	}
}

func TestMaxWire(t *testing.T) {
	tests := []struct {
		options        string
		maxFrame, want int
	}{
		{`{}`, 1, 5}, {`{}`, 3, 5}, {`{}`, 4, 9}, {raw, 4, 7}, {optional, 4, 9}, {datagram, 4, 8},
		{mime, 57, 80}, {mime, 58, 86}, {mime, 114, 158}, {narrow, 6, 12}, {lenient, 3, 9},
	}
	for _, tt := range tests {
		framing, _, err := Codec.Configure(json.RawMessage(tt.options), tt.maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		if got := codecs.MaxWireOf(framing, tt.maxFrame); got != tt.want {
			t.Errorf("%s with payloads of up to %d bytes: got %d, want %d", tt.options, tt.maxFrame, got, tt.want)
		}
	}
}

// TestEverySize writes and reads a payload of each size, in lines of several widths.
func TestEverySize(t *testing.T) {
	payload := strings.Repeat("\x00\xff\x10payload", 300)
	for _, options := range []string{`{}`, raw, mime, narrow, datagram, `{"wrap": 1, "terminator": "NUL"}`,
		`{"wrap": 1023, "terminator": "NUL"}`, `{"wrap": 76, "terminator": "NUL", "strict": false}`} {
		for n := 1; n < 1800; n += 1 + n/60 {
			c := newStream(t, options, n)
			wire := c.Encode(payload[:n])
			if got, err := c.Decode(wire); err != nil || len(got) != 1 || got[0] != payload[:n] {
				t.Fatalf("%s: %d bytes: got %d payloads, %v", options, n, len(got), err)
			}
			if len(wire) != c.Properties.MaxWire && c.Properties.MaxWire < n*2 {
				t.Fatalf("%s: %d bytes make a frame of %d bytes, want %d", options, n, len(wire), c.Properties.MaxWire)
			}
		}
	}
}

// TestDecodeAgreesWithExplain changes each character of texts to each byte: explain finds a mistake exactly in the texts that decode
// refuses.
func TestDecodeAgreesWithExplain(t *testing.T) {
	for _, options := range []string{`{"terminator": "NUL"}`, raw, optional, narrow, `{"terminator": "NUL", "strict": false}`} {
		configured, _, err := Codec.Configure(json.RawMessage(options), 100)
		if err != nil {
			t.Fatal(err)
		}
		text := &configured.(*framing).text
		for n := 1; n < 60; n += 1 + n/4 {
			written := make([]byte, text.encodedLen(n))
			text.encode(written, bytes.Repeat([]byte("\xa5\x3c"), 30)[:n])
			for i := range written {
				was := written[i]
				for c := range 256 {
					written[i] = byte(c)
					agree(t, options, text, written)
				}
				written[i] = was
			}
		}
	}
}

func agree(t *testing.T, options string, text *text, written []byte) {
	t.Helper()
	n, ok := text.digits(written)
	ok = ok && decodedLen(n) <= 100 && text.decode(make([]byte, decodedLen(n)), written, n)
	if wrong, found := text.explain(written, 100, true); found == ok {
		t.Fatalf("%s: %q: decoded %t, explained as %+v", options, written, ok, wrong)
	}
}

func TestSuite(t *testing.T) { codectest.Run(t, Codec, suite()...) }

// suite runs codectest: all of it in this process, a part in another process.
func suite() []codectest.Case {
	return []codectest.Case{
		{Accept: []string{"hi", "", "\n", "aGk="}, Wires: []codectest.Wire{
			{Wire: "aGk=\na\rGk=\naG8=\n", Want: []string{"hi"},
				Fault: &codecs.Fault{Offset: 5, At: 6, Err: codecs.ErrMalformed}, Rest: []string{"ho"}},
		}},
		{Options: raw, Accept: []string{"hi", ""}, MaxFrame: 100},
		{Options: optional, Accept: []string{"hi", ""}, MaxFrame: 101},
		{Name: "url", Options: `{"alphabet": "url", "terminator": "NUL", "empty": "skip"}`, Accept: []string{"hi"}},
		{Name: "mime", Options: mime, Accept: []string{"hi", "", strings.Repeat("a", 57), strings.Repeat("a", 58)}, MaxFrame: 1000},
		{Name: "narrow", Options: narrow, Accept: []string{"hi", "", "foobar", "foob"}, MaxFrame: 64},
		{Name: "lenient", Options: lenient, Accept: []string{"hi", ""}, MaxFrame: 50},
		{Name: "lenient lines", Options: `{"wrap": 5, "terminator": "0x0D0A0D0A", "strict": false, "empty": "refuse"}`,
			Accept: []string{"hi", "foobar"}, Refuse: []string{""}, MaxFrame: 64},
		{Name: "datagrams", Options: datagram, Accept: []string{"hi"}, Refuse: []string{""}, Datagrams: true},
	}
}

var fuzzed = []string{`{}`, raw, optional, mime, narrow, lenient, datagram, `{"alphabet": "url", "terminator": "CRLF"}`,
	`{"wrap": 5, "terminator": "0x0D0A0D0A", "strict": false}`, `{"terminator": "NUL", "strict": false, "padding": "optional"}`}

func FuzzDecode(f *testing.F) {
	for i := range fuzzed {
		for _, wire := range []string{"Zm9vYg==\nZg==\n", "Zm9\nvYg\n==\r\n",
			"Zm9vYmFy\r\n\r\nZm\r", "\r\n\x00Zm9vYh==\x00", strings.Repeat("QUJD", 30)} {
			f.Add(uint8(i), []byte(wire), uint16(5))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, wire []byte, cut uint16) {
		const maxFrame = 60
		options := fuzzed[int(which)%len(fuzzed)]
		whole := newStream(t, options, maxFrame)
		want, wantErr := whole.Decode(string(wire))
		at := int(cut) % (len(wire) + 1)
		for _, reads := range [][]string{{string(wire[:at]), string(wire[at:])}, strings.Split(string(wire), "")} {
			got, err := newStream(t, options, maxFrame).Decode(reads...)
			if !slices.Equal(got, want) || fault(err) != fault(wantErr) {
				t.Fatalf("%s: %q cut as %q:\n got  %q, %v\n want %q, %v", options, wire, reads, got, err, want, wantErr)
			}
		}
		text := &whole.Framing.(*framing).text
		n, ok := text.digits(wire)
		ok = ok && decodedLen(n) <= maxFrame && len(wire) <= text.longest(maxFrame) &&
			text.decode(make([]byte, decodedLen(n)), wire, n)
		if wrong, found := text.explain(wire, maxFrame, true); found == ok {
			t.Fatalf("%s: %q: decoded %t, explained as %+v", options, wire, ok, wrong)
		}
		for _, payload := range append(want, string(wire[:min(len(wire), maxFrame)])) {
			out := whole.TryEncode(payload)
			if out.Fault != nil {
				continue
			}
			if got, err := newStream(t, options, maxFrame).Decode(string(out.Wire)); err != nil || len(got) != 1 || got[0] != payload {
				t.Fatalf("%s: %q is written as %q and read as %q, %v", options, payload, out.Wire, got, err)
			}
		}
		if strings.Contains(options, "optional") || strings.Contains(options, "false") || wantErr != nil {
			return
		}
		var again string // each payload has one text: encoding the payload again gives the same text
		for _, payload := range want {
			again += whole.Encode(payload)
		}
		if again != string(wire) {
			t.Fatalf("%s: %q decodes to %q, which is written as %q", options, wire, want, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	benchmark(b, func(b *testing.B, framing codecs.Framing, in *codeccall.Encode, wire []byte) {
		var runner codeccall.Runner
		var out codeccall.Decoded
		call := codeccall.Decode{Wire: wire, Room: 1 << 20}
		for b.Loop() {
			if err := runner.Decode(framing, 1<<20, &call, &out); err != nil || out.Consumed != len(wire) {
				b.Fatal(err, out.Fault)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	benchmark(b, func(b *testing.B, framing codecs.Framing, in *codeccall.Encode, wire []byte) {
		var runner codeccall.Runner
		var out codeccall.Encoded
		for b.Loop() {
			if err := runner.Encode(framing, in, &out); err != nil || out.Taken() != len(in.Refs) {
				b.Fatal(err, out.Fault)
			}
		}
	})
}

// benchmark runs one call a round, with about 64 KiB of payloads.
func benchmark(b *testing.B, run func(*testing.B, codecs.Framing, *codeccall.Encode, []byte)) {
	for _, kind := range []struct{ name, options string }{{"line", `{}`}, {"mime", mime}} {
		for _, size := range []int{64, 256, 1024, 16384} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, size), func(b *testing.B) {
				framing, _, err := Codec.Configure(json.RawMessage(kind.options), 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				in := codeccall.Encode{Wire: bytes.Repeat([]byte("\x00\xa5payload"), 65536/9+1)[:65536], Room: 1 << 20}
				for off := 0; off < len(in.Wire); off += size {
					in.Refs = append(in.Refs, codecs.Ref{Off: uint32(off), Len: uint32(size)})
				}
				var runner codeccall.Runner
				var out codeccall.Encoded
				if err := runner.Encode(framing, &in, &out); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(in.Wire)))
				b.ReportAllocs()
				run(b, framing, &in, bytes.Clone(out.Wire))
				b.ReportMetric(float64(b.N)*float64(len(in.Refs))/b.Elapsed().Seconds()/1e6, "Mframes/s")
			})
		}
	}
}

// TestSteadyState checks that neither decoding nor encoding allocates memory for a frame.
func TestSteadyState(t *testing.T) {
	for _, options := range []string{`{}`, mime, lenient} {
		c := newStream(t, options, 64)
		var out codeccall.Encoded
		in := codeccall.Encode{Wire: []byte("hi, ho"), Refs: []codecs.Ref{{Off: 0, Len: 2}, {Off: 2, Len: 4}}, Room: 1000}
		encode := func() {
			if err := c.Runner.Encode(c.Framing, &in, &out); err != nil || out.Fault != nil {
				t.Fatal(err, out.Fault)
			}
		}
		encode()
		if n := testing.AllocsPerRun(100, encode); n > 0 {
			t.Errorf("%s: encoding two frames takes memory %.0f times", options, n)
		}
		shown := codeccall.Decode{Wire: bytes.Clone(out.Wire), Room: 1000}
		if n := testing.AllocsPerRun(100, func() { c.Call(&shown) }); n > 0 {
			t.Errorf("%s: decoding two frames takes memory %.0f times", options, n)
		}
	}
}

func newStream(t testing.TB, options string, maxFrame int) *codectest.Stream {
	t.Helper()
	return codectest.NewStream(t, Codec, options, maxFrame)
}

func fault(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package lenprefix

import (
	"bytes"
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

// framings are common framings, each with the exact bytes of a frame.
var framings = []struct{ name, options, payload, wire string }{
	{"dns-tcp", `{"width": 2}`, "\x00\x01" + strings.Repeat("q", 27), "\x00\x1d\x00\x01" + strings.Repeat("q", 27)},
	{"kafka", `{"width": 4, "format": "be"}`, "hello", "\x00\x00\x00\x05hello"},
	{"erlang-1", `{"width": 1}`, "hello", "\x05hello"},
	{"erlang-2", `{"width": 2}`, "hello", "\x00\x05hello"},
	{"erlang-4", `{}`, "hello", "\x00\x00\x00\x05hello"},
	{"rtp-tcp", `{"width": 2, "format": "be"}`, "\x80\x00", "\x00\x02\x80\x00"},
	{"iso8583-2", `{"width": 2}`, "0800", "\x00\x040800"},
	{"iso8583-2-inclusive", `{"width": 2, "counts": "frame"}`, "0800", "\x00\x060800"},
	{"iso8583-ascii4", `{"width": 4, "format": "ascii_dec"}`, strings.Repeat("m", 93), "0093" + strings.Repeat("m", 93)},
	{"iso8583-hex4", `{"width": 4, "format": "ascii_hex"}`, strings.Repeat("m", 93), "005d" + strings.Repeat("m", 93)},
	{"iso8583-bcd", `{"width": 2, "format": "bcd"}`, strings.Repeat("m", 93), "\x00\x93" + strings.Repeat("m", 93)},
	{"base24", `{"width": 2, "trailer": "ETX", "adjust": 1}`, "hello", "\x00\x06hello\x03"},
	{"tpkt", `{"before": "0x0300", "width": 2, "counts": "frame"}`, "\x02\xf0\x80", "\x03\x00\x00\x07\x02\xf0\x80"},
	{"diameter", `{"offset": 1, "width": 3, "counts": "frame", "keep_header": true}`,
		"\x01\x00\x00\x08\x80\x00\x01\x01", "\x01\x00\x00\x08\x80\x00\x01\x01"},
	{"smpp", `{"width": 4, "counts": "frame"}`, "\x00\x00\x00\x15", "\x00\x00\x00\x08\x00\x00\x00\x15"},
	{"mbap", `{"offset": 4, "width": 2, "keep_header": true}`,
		"\x00\x01\x00\x00\x00\x06\x11\x03\x00\x6b\x00\x03", "\x00\x01\x00\x00\x00\x06\x11\x03\x00\x6b\x00\x03"},
	{"bitcoin", `{"offset": 16, "width": 4, "format": "le", "adjust": -4, "keep_header": true}`,
		"\xf9\xbe\xb4\xd9ping\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x9b\xfa\x11\x2c12345678",
		"\xf9\xbe\xb4\xd9ping\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x9b\xfa\x11\x2c12345678"},
	{"git-pktline", pktLine, "003bgit-upload-pack /x.git\x00host=127.0.0.1:59487\x00\x00version=2\x00",
		"003bgit-upload-pack /x.git\x00host=127.0.0.1:59487\x00\x00version=2\x00"},
	{"git-pktline flush", pktLine, "0000", "0000"},
	{"git-pktline delimiter", pktLine, "0001", "0001"},
	{"git-pktline response end", pktLine, "0002", "0002"},
	{"git-pktline empty", pktLine, "0004", "0004"},
	{"octet-counting", octetCounting, "<13>1 - - tag - - - hello", "25 <13>1 - - tag - - - hello"},
	{"netstring", netstring, "hello world!", "12:hello world!,"},
	{"netstring empty", netstring, "", "0:,"},
	{"resp-bulk", respBulk, "hello", "$5\r\nhello\r\n"},
	{"pax header", paxHeader, "mtime=1.2", "13 mtime=1.2\n"},
	{"padded with blanks", `{"width": 4, "format": "ascii_dec", "pad": "space"}`, "hello", "   5hello"},
	{"padded with blanks, empty", `{"width": 4, "format": "ascii_hex", "pad": "space"}`, "", "   0"},
	{"constant after the length", `{"width": 1, "before": "STX", "after": "0x3A3A", "trailer": "ETX", "counts": "frame"}`,
		"hi", "\x02\x07::hi\x03"},
	{"kept, with a magic number and a trailer", `{"before": "0xCAFE", "offset": 3, "width": 1, "keep_header": true, "trailer": "ETX"}`,
		"\xca\xfe?\x02hi", "\xca\xfe?\x02hi\x03"},
	{"count kept", `{"width": 0, "separator": ":", "trailer": ",", "keep_header": true}`, "2:hi", "2:hi,"},
}

const (
	netstring     = `{"width": 0, "separator": ":", "trailer": ","}`
	octetCounting = `{"width": 0, "separator": " ", "empty": "refuse"}`
	respBulk      = `{"before": "$", "width": 0, "separator": "CRLF", "trailer": "CRLF"}`
	paxHeader     = `{"width": 0, "separator": " ", "trailer": "LF", "counts": "frame"}`
	pktLine       = `{"width": 4, "format": "ascii_hex", "counts": "frame", "keep_header": true, "control": [0, 1, 2]}`
	fourDigits    = `{"width": 4, "format": "ascii_dec"}`
)

func TestFramings(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			c := newStream(t, f.options, 4096)
			if got := c.Encode(f.payload); got != f.wire {
				t.Fatalf("encode %q:\n got  %q\n want %q", f.payload, got, f.wire)
			}
			two := f.wire + f.wire
			for cut := range len(two) + 1 {
				got, err := newStream(t, f.options, 4096).Decode(two[:cut], two[cut:])
				if err != nil || !slices.Equal(got, []string{f.payload, f.payload}) {
					t.Fatalf("decode %q cut at %d: got %q, %v, want %q twice", two, cut, got, err, f.payload)
				}
			}
		})
	}
}

func TestArrivals(t *testing.T) {
	tests := []struct { // in wire, '|' marks where one read ends and the next begins
		name, options, wire string
		want                []string
		fault               string
	}{
		{"one read, two frames", fourDigits, "0002hi0002ho", []string{"hi", "ho"}, ""},
		{"read cut inside the length", fourDigits, "00|02hi", []string{"hi"}, ""},
		{"read cut after the length", fourDigits, "0002|hi", []string{"hi"}, ""},
		{"read cut inside the payload", fourDigits, "0002h|i0002ho", []string{"hi", "ho"}, ""},
		{"each byte on its own", netstring, "2|:|h|i|,|2|:|h|o|,", []string{"hi", "ho"}, ""},
		{"read cut inside the separator", respBulk, "$2\r|\nhi\r|\n", []string{"hi"}, ""},
		{"end of stream inside the length", fourDigits, "0002hi00", []string{"hi"},
			"truncated frame at offset 8 (frame begins at 6): want 4 decimal digits"},
		{"end of stream inside the payload", fourDigits, "0002hi0002h", []string{"hi"},
			"truncated frame at offset 11 (frame begins at 6): want the frame that its length announces"},
		{"end of stream before the trailer", netstring, "2:hi", nil,
			"truncated frame at offset 4 (frame begins at 0): want the frame that its length announces"},
		{"end of stream before the separator", netstring, "2", nil,
			"truncated frame at offset 1 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"sign in the length", fourDigits, "+002hi", nil,
			"malformed frame at offset 0 (frame begins at 0): want 4 decimal digits"},
		{"blank in the length", fourDigits, "0002hi   2ho", []string{"hi"},
			"malformed frame at offset 6 (frame begins at 6): want 4 decimal digits"},
		{"letter in a decimal length", fourDigits, "000a", nil,
			"malformed frame at offset 3 (frame begins at 0): want 4 decimal digits"},
		{"letter in a packed length", `{"width": 2, "format": "bcd"}`, "\x00\x1A", nil,
			"malformed frame at offset 1 (frame begins at 0): want 4 packed decimal digits"},
		{"blank after a digit", `{"width": 4, "format": "ascii_dec", "pad": "space"}`, " 2 2", nil,
			"malformed frame at offset 2 (frame begins at 0): want 4 decimal digits, leading ones blank"},
		{"nothing but blanks", `{"width": 4, "format": "ascii_dec", "pad": "space"}`, "    ", nil,
			"malformed frame at offset 3 (frame begins at 0): want 4 decimal digits, leading ones blank"},
		{"sign in a count", netstring, "+2:hi,", nil,
			"malformed frame at offset 0 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"leading zero in a count", netstring, "02:hi,", nil,
			"malformed frame at offset 1 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"no digits in a count", netstring, ":hi,", nil,
			"malformed frame at offset 0 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"eleven digits in a count", netstring, "10000000000:", nil,
			"malformed frame at offset 10 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"blank before a separator", netstring, "2 :hi,", nil,
			"malformed frame at offset 1 (frame begins at 0): want a count of at most 10 digits, then :"},
		{"another trailer", netstring, "2:hi;", nil,
			"malformed frame at offset 4 (frame begins at 0): want , after the payload"},
		{"another start", respBulk, "$2\r\nhi\r\n+OK\r\n", []string{"hi"},
			"malformed frame at offset 8 (frame begins at 8): want $ at the frame's start"},
		{"another byte after the length", `{"width": 1, "after": "::"}`, "\x01:;x", nil,
			"malformed frame at offset 2 (frame begins at 0): want :: after the length"},
		{"upper-case hex", `{"width": 4, "format": "ascii_hex"}`, "000Ahellohello", []string{"hellohello"}, ""},
		{"empty frame", netstring, "0:,2:hi,", []string{"", "hi"}, ""},
		{"empty frame to be skipped", `{"width": 1, "empty": "skip"}`, "\x00\x02hi\x00", []string{"hi"}, ""},
		{"empty frame to be refused", octetCounting, "2 hi0 2 ho", []string{"hi"},
			"malformed frame at offset 5 (frame begins at 4): want a payload of at least 1 byte"},
		{"length less than what it counts", `{"width": 2, "counts": "frame"}`, "\x00\x01", nil,
			"malformed frame at offset 1 (frame begins at 0): want an announced length of at least 2"},
		{"length less than adjust", `{"width": 1, "adjust": 3}`, "\x02", nil,
			"malformed frame at offset 0 (frame begins at 0): want an announced length of at least 3"},
		{"bare header between frames", pktLine, "0006hi00000006ho", []string{"0006hi", "0000", "0006ho"}, ""},
		{"value that is no control", pktLine, "0003", nil,
			"malformed frame at offset 3 (frame begins at 0): want an announced length of at least 4"},
		{"too long by one", fourDigits, "0064" + strings.Repeat("a", 64) + "0065", []string{strings.Repeat("a", 64)},
			"frame too long at offset 71 (frame begins at 68): want a payload of at most 64 bytes"},
		{"four gigabytes announced", `{"width": 4}`, "\xff\xff\xff\xff", nil,
			"frame too long at offset 3 (frame begins at 0): want a payload of at most 64 bytes"},
		{"more than 63 bits announced", `{"width": 8}`, "\xff\xff\xff\xff\xff\xff\xff\xff", nil,
			"frame too long at offset 7 (frame begins at 0): want a payload of at most 64 bytes"},
		{"63 bits announced, and adjusted", `{"width": 8, "adjust": -2147483648}`, "\x3f\xff\xff\xff\xff\xff\xff\xff", nil,
			"frame too long at offset 7 (frame begins at 0): want a payload of at most 64 bytes"},
		{"a count that comes out even twice, short", `{"width": 0, "separator": ":", "counts": "frame"}`, "9:1234567", []string{"1234567"}, ""},
		{"a count that comes out even twice, long", `{"width": 0, "separator": ":", "counts": "frame"}`, "10:1234567", []string{"1234567"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newStream(t, tt.options, 64).Decode(strings.Split(tt.wire, "|")...)
			if !slices.Equal(got, tt.want) || text(err) != tt.fault {
				t.Errorf("decode %q:\n got  %q, %v\n want %q, %s", tt.wire, got, err, tt.want, tt.fault)
			}
		})
	}
}

// TestResume shows where decoding goes on for hosts that skip broken frames.
func TestResume(t *testing.T) {
	tests := []struct {
		name, options, wire string
		want                int
	}{
		{"too long: after it", fourDigits, "0065", 69},
		{"too long, with a trailer: after that", netstring, "100:", 105},
		{"longer than any frame may be: nowhere", `{"width": 4}`, "\xff\xff\xff\xff", codecs.Never},
		{"longer than 63 bits: nowhere", `{"width": 8}`, "\xff\xff\xff\xff\xff\xff\xff\xff", codecs.Never},
		{"refused as empty: after it", octetCounting, "0 ", 2},
		{"malformed: nowhere", fourDigits, "00x1", codecs.Never},
		{"truncated: at the end", fourDigits, "0002h", 5},
	}
	for _, tt := range tests {
		_, err := newStream(t, tt.options, 64).Decode(tt.wire)
		if f := (*codecs.Fault)(nil); !errors.As(err, &f) || f.Resume != tt.want {
			t.Errorf("%s: decode %q: got %+v, want resume at %d", tt.name, tt.wire, err, tt.want)
		}
	}
}

// TestAnnounced shows the payload lengths that frames announce if they are too long.
func TestAnnounced(t *testing.T) {
	tests := []struct {
		name, options, wire string
		want                uint64
	}{
		{"digits", fourDigits, "0065", 65},
		{"a count", netstring, "100:", 100},
		{"four letters, read as a number", `{"width": 4}`, "GET ", 0x47455420},
		{"a length that counts the frame", `{"width": 4, "counts": "frame"}`, "\x00\x00\x01\x00", 252},
		{"the largest number", `{"width": 8}`, "\xff\xff\xff\xff\xff\xff\xff\xff", 1<<64 - 1},
		{"malformed", fourDigits, "00x1", 0},
	}
	for _, tt := range tests {
		_, err := newStream(t, tt.options, 64).Decode(tt.wire)
		if f := (*codecs.Fault)(nil); !errors.As(err, &f) || f.Announced != tt.want {
			t.Errorf("%s: decode %q: got %+v, want %d bytes announced", tt.name, tt.wire, err, tt.want)
		}
	}
}

func TestUnrepresentable(t *testing.T) {
	tests := []struct {
		name, options, payload, want string
	}{
		{"five digits don't fit into four", fourDigits, strings.Repeat("a", 10000),
			"byte 9999: want a payload of 0 to 9999 bytes"},
		{"a length isn't wrapped", `{"width": 1}`, strings.Repeat("a", 256), "byte 255: want a payload of 0 to 255 bytes"},
		{"nor one that counts the frame", `{"width": 1, "counts": "frame"}`, strings.Repeat("a", 255),
			"byte 254: want a payload of 0 to 254 bytes"},
		{"nor an adjusted one", `{"width": 1, "adjust": 10}`, strings.Repeat("a", 246),
			"byte 245: want a payload of 0 to 245 bytes"},
		{"nor a packed one", `{"width": 1, "format": "bcd"}`, strings.Repeat("a", 100),
			"byte 99: want a payload of 0 to 99 bytes"},
		{"less than nothing can't be announced", `{"width": 1, "adjust": -4}`, "abc",
			"byte 3: want a payload of 4 to 259 bytes"},
		{"empty", octetCounting, "", "byte 0: want a payload of at least 1 byte"},
		{"header cut short", pktLine, "000", "byte 3: want 4 hex digits"},
		{"length of a kept header too small", pktLine, "0006hi!", "byte 6: want a length that announces these 7 bytes"},
		{"length of a kept header too great", pktLine, "0008hi!", "byte 7: want a length that announces these 7 bytes"},
		{"length of a kept header far too great", pktLine, "ffffhi!", "byte 3: want a length that announces these 7 bytes"},
		{"digit of a kept header", pktLine, "00g7hi!", "byte 2: want 4 hex digits"},
		{"bare header with a body", pktLine, "0001hi", "byte 4: want a length that announces these 6 bytes"},
		{"magic number of a kept header", `{"before": "0x0300", "width": 2, "keep_header": true}`, "\x03\x01\x00\x00",
			"byte 1: want 0x0300 at the frame's start"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newStream(t, tt.options, 20000)
			out := c.TryEncode(tt.payload)
			if out.Fault == nil || out.Fault.Error() != "payload cannot be represented: "+tt.want {
				t.Errorf("encode %.20q: got %v, want %s", tt.payload, out.Fault, tt.want)
			}
			if len(out.Wire) > 0 {
				t.Errorf("encode %.20q wrote %q, want nothing", tt.payload, out.Wire)
			}
		})
	}
}

func TestEncodeOverTheLimit(t *testing.T) {
	out := newStream(t, `{}`, 64).TryEncode(strings.Repeat("a", 65))
	if out.Fault == nil || out.Fault.Err != codecs.ErrTooLong || out.Fault.At != 64 {
		t.Errorf("65 bytes with a limit of 64: got %v, want too long at byte 64", out.Fault)
	}
}

// TestTrailerAlways checks that a payload that ends like the trailer is followed by a trailer too.
func TestTrailerAlways(t *testing.T) {
	if got := newStream(t, respBulk, 64).Encode("hi\r\n"); got != "$4\r\nhi\r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestNeed checks that the need is known once the length is, and that calls with fewer bytes find nothing.
func TestNeed(t *testing.T) {
	tests := []struct {
		options, wire string
		want          int
	}{
		{`{"width": 4}`, "\x00", 4},
		{`{"width": 4}`, "\x00\x00\x00\x09", 13},
		{netstring, "9", 2},
		{netstring, "9:a", 12},
		{`{"offset": 16, "width": 4, "keep_header": true}`, "abc", 17},
		{fourDigits, "0002hi0009", 13},
	}
	for _, tt := range tests {
		c := newStream(t, tt.options, 64)
		in := codeccall.Decode{Wire: []byte(tt.wire)}
		if out := c.Call(&in); out.Need != tt.want {
			t.Errorf("%q: got need %d, want %d", tt.wire, out.Need, tt.want)
		}
	}
}

func TestMaxWire(t *testing.T) {
	tests := []struct {
		options        string
		maxFrame, want int
	}{
		{`{}`, 100, 104},
		{`{"width": 1}`, 1000, 256},
		{fourDigits, 100000, 10003},
		{`{"width": 1, "counts": "frame"}`, 1000, 255},
		{`{"before": "STX", "width": 2, "after": "::", "trailer": "ETX"}`, 10, 16},
		{netstring, 100, 105},
		{netstring, 99, 103},
		{netstring, 5, 10}, // "1234567890", which may be a count
		{paxHeader, 8, 12}, // "12 ........\n", which another encoder may write as well as "11 ........\n"
		{pktLine, 100, 100},
		{pktLine, 1 << 20, 65535},
		{pktLine, 1, 3},
		{`{"width": 4, "keep_header": true, "trailer": "CRLF"}`, 100, 102},
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

// TestEverySize writes and reads a payload of each size around the sizes at which a length gets longer.
func TestEverySize(t *testing.T) {
	const maxFrame = 11000
	for _, options := range []string{`{}`, fourDigits, netstring, paxHeader, `{"width": 5, "format": "bcd", "counts": "frame"}`,
		`{"width": 0, "separator": "-", "counts": "frame", "adjust": -7}`, `{"width": 8, "format": "le", "adjust": 2147483647}`} {
		c := newStream(t, options, maxFrame)
		payload := strings.Repeat("a", maxFrame)
		for n := range maxFrame {
			if n > 120 && n < 980 || n > 1020 && n < 9980 || n > 10020 {
				continue
			}
			out := c.TryEncode(payload[:n])
			if out.Fault != nil {
				if n > 9 && n < 10000 {
					t.Fatalf("%s: %d bytes: %v", options, n, out.Fault)
				}
				continue
			}
			got, err := newStream(t, options, maxFrame).Decode(string(out.Wire))
			if err != nil || len(got) != 1 || got[0] != payload[:n] {
				t.Fatalf("%s: %d bytes: got %d payloads, %v", options, n, len(got), err)
			}
		}
	}
}

func TestSuite(t *testing.T) { codectest.Run(t, Codec, suite()...) }

// suite runs codectest: all of it in this process, a part in another process.
func suite() []codectest.Case {
	kept := func(format string, fixed int) func(int) []byte {
		return func(n int) []byte {
			b := fmt.Appendf(nil, format, n)
			return append(b, bytes.Repeat([]byte("a"), max(n-len(b), 0))...)[:n]
		}
	}
	return []codectest.Case{
		{Accept: []string{"hi", "\x00\x00\x00\x02", ""}},
		{Name: "four digits", Options: fourDigits, Accept: []string{"0002", "hi"}},
		{Name: "one byte", Options: `{"width": 1}`, MaxFrame: 100, Accept: []string{"hi", "\x00"}},
		{Name: "octet-counting", Options: octetCounting, Accept: []string{"hi", "2 hi"}, Refuse: []string{""},
			Wires: []codectest.Wire{{Wire: "2 hi0 2 ho", Want: []string{"hi"},
				Fault: &codecs.Fault{Offset: 4, At: 5, Err: codecs.ErrMalformed}, Rest: []string{"ho"}}}},
		{Name: "netstring", Options: netstring, Accept: []string{"hi", "", ",", "2:hi,"}, MaxFrame: 100,
			Wires: []codectest.Wire{{Wire: "2:hi,101:" + strings.Repeat("a", 101) + ",2:ho,", Want: []string{"hi"},
				Fault: &codecs.Fault{Offset: 5, At: 8, Err: codecs.ErrTooLong}, Rest: []string{"ho"}}}},
		{Name: "resp-bulk", Options: respBulk, Accept: []string{"hi", "\r\n", "$2\r\nhi\r\n"}},
		{Name: "pax", Options: paxHeader, Accept: []string{"hi", "a=b\n"}},
		{Name: "everything around", Accept: []string{"hi"}, MaxFrame: 1000,
			Options: `{"width": 3, "format": "ascii_hex", "pad": "space", "before": "0x0102", "after": "::", "trailer": "CRLF",
				"counts": "frame", "empty": "skip"}`},
		{Name: "packed", Options: `{"width": 3, "format": "bcd", "adjust": -2}`, Accept: []string{"hi"}, Refuse: []string{"a", ""}},
		{Name: "little endian", Options: `{"width": 8, "format": "le", "counts": "frame"}`, Accept: []string{"hi"}},
		{Name: "git-pktline", Options: pktLine, Accept: []string{"0006hi", "0000", "0004"}, Refuse: []string{"", "0003", "0005hi"},
			Sized: kept("%04x", 4)},
		{Name: "kept with trailer", Options: `{"offset": 2, "width": 4, "format": "ascii_dec", "counts": "frame",
			"keep_header": true, "trailer": "LF"}`,
			Accept: []string{"..0009hi"}, Sized: func(n int) []byte {
				return fmt.Appendf(nil, "..%04d%s", n+1, strings.Repeat("a", max(n-6, 0)))[:n]
			}},
	}
}

func FuzzDecode(f *testing.F) {
	var options []string
	for _, known := range framings {
		if !slices.Contains(options, known.options) {
			options = append(options, known.options)
		}
		f.Add(uint8(slices.Index(options, known.options)), []byte(known.wire+known.wire), uint16(3))
	}
	f.Fuzz(func(t *testing.T, which uint8, wire []byte, cut uint16) {
		with := options[int(which)%len(options)]
		whole := newStream(t, with, 64)
		want, wantErr := whole.Decode(string(wire))
		at := int(cut) % (len(wire) + 1)
		for _, reads := range [][]string{{string(wire[:at]), string(wire[at:])}, strings.Split(string(wire), "")} {
			got, err := newStream(t, with, 64).Decode(reads...)
			if !slices.Equal(got, want) || text(err) != text(wantErr) {
				t.Fatalf("%s: %q cut as %q:\n got  %q, %v\n want %q, %v", with, wire, reads, got, err, want, wantErr)
			}
		}
		for _, payload := range append(want, string(wire)) {
			out := whole.TryEncode(payload)
			if out.Fault != nil {
				continue
			}
			if got, err := newStream(t, with, 64).Decode(string(out.Wire)); err != nil || len(got) != 1 || got[0] != payload {
				t.Fatalf("%s: %q is written as %q and read as %q, %v", with, payload, out.Wire, got, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	benchmark(b, func(b *testing.B, framing codecs.Framing, in *codeccall.Encode, wire []byte) {
		var runner codeccall.Runner
		var out codeccall.Decoded
		call := codeccall.Decode{Wire: wire}
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
	for _, kind := range []struct{ name, options string }{
		{"be", `{}`}, {"ascii_dec", `{"width": 5, "format": "ascii_dec"}`}, {"netstring", netstring},
	} {
		for _, size := range []int{64, 256, 1024, 16384} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, size), func(b *testing.B) {
				framing, _, err := Codec.Configure(json.RawMessage(kind.options), 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				in := codeccall.Encode{Wire: bytes.Repeat([]byte("x"), 65536), Room: 1 << 20}
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
	for _, options := range []string{`{}`, netstring, fourDigits, pktLine} {
		c := newStream(t, options, 64)
		var out codeccall.Encoded
		in := codeccall.Encode{Wire: []byte("0006hi0006ho"), Refs: []codecs.Ref{{Off: 0, Len: 6}, {Off: 6, Len: 6}}, Room: 1000}
		encode := func() {
			if err := c.Runner.Encode(c.Framing, &in, &out); err != nil || out.Fault != nil {
				t.Fatal(err, out.Fault)
			}
		}
		encode()
		if n := testing.AllocsPerRun(100, encode); n > 0 {
			t.Errorf("%s: encoding two frames takes memory %.0f times", options, n)
		}
		shown := codeccall.Decode{Wire: bytes.Clone(out.Wire)}
		if n := testing.AllocsPerRun(100, func() { c.Call(&shown) }); n > 0 {
			t.Errorf("%s: decoding two frames takes memory %.0f times", options, n)
		}
	}
}

// newStream gives no room for payloads that are built: this codec refers to all payloads.
func newStream(t testing.TB, options string, maxFrame int) *codectest.Stream {
	t.Helper()
	s := codectest.NewStream(t, Codec, options, maxFrame)
	s.Room = 0
	return s
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

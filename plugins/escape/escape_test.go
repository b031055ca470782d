package escape

import (
	"encoding/json"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codectest"
)

// The options of common framings, as in their profiles.
const (
	slip       = `{"terminator":"0xC0","leading_terminator":true,"escape":"0xDB","map":{"0xC0":"0xDC","0xDB":"0xDD"},"empty":"skip"}`
	ppp        = `{"terminator":"0x7E","leading_terminator":true,"style":"xor","escape":"0x7D","also":["00-1F"],"ignore":["00-1F"],"abort":true,"empty":"skip"}`
	dleSTX     = `{"start":"0x1002","terminator":"0x1003","style":"double","escape":"DLE"}`
	telnetEOR  = `{"terminator":"0xFFEF","style":"double","escape":"0xFF"}`
	smtpData   = `{"style":"line_dot","terminator":"0x0D0A2E0D0A"}`
	newline    = `{"style":"none"}`
	crlf       = `{"terminator":"CRLF","style":"none","also_accept":["LF"]}`
	nul        = `{"terminator":"NUL","style":"none"}`
	stxETX     = `{"start":"STX","terminator":"ETX","style":"none"}`
	mllp       = `{"start":"0x0B","terminator":"0x1C0D","style":"none"}`
	jsonSeq    = `{"start":"RS","terminator":"LF","style":"none"}`
	ndjson     = `{"style":"none","also_accept":["CRLF"],"empty":"skip"}`
	hl7Message = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1"
)

func malformed(offset, at int) *codecs.Fault {
	return &codecs.Fault{Offset: offset, At: at, Err: codecs.ErrMalformed}
}

func truncated(offset, at int) *codecs.Fault {
	return &codecs.Fault{Offset: offset, At: at, Err: codecs.ErrTruncated}
}

func tooLongAt(offset, at int) *codecs.Fault {
	return &codecs.Fault{Offset: offset, At: at, Err: codecs.ErrTooLong}
}

func frame(payload, wire string) codectest.Frame {
	return codectest.Frame{Payload: payload, Wire: wire}
}

// mail returns a payload of n bytes for style line_dot, with as many dots as possible.
func mail(n int) []byte {
	b := make([]byte, 0, n)
	for n-len(b) >= 6 {
		b = append(b, ".\r\n"...)
	}
	if n-len(b) >= 2 {
		for n-len(b) > 2 {
			b = append(b, '.')
		}
		return append(b, "\r\n"...)
	}
	return b
}

func TestSuite(t *testing.T) { codectest.Run(t, Codec, suite()...) }

// suite runs codectest: all of it in this process, a part in another process.
func suite() []codectest.Case {
	return []codectest.Case{
		{
			Name: "defaults", Accept: []string{"", "hi", "a\nb\\", "\n\n\n", `\n`, "\r\n"},
			Frames: []codectest.Frame{frame("a\nb\\", `a\nb\\`+"\n")},
			Wires: []codectest.Wire{
				{Wire: "\n\nhi\n", Want: []string{"", "", "hi"}},
				{Wire: "hi\nho", Want: []string{"hi"}, Fault: truncated(3, 5)},
				{Wire: "hi\nho\\", Want: []string{"hi"}, Fault: truncated(3, 6)},
				{Wire: "hi\na\\xb\nho\n", Want: []string{"hi"}, Fault: malformed(3, 5), Rest: []string{"ho"}},
				// The terminator after a broken escape ends the frame.
				{Wire: "a\\\nho\n", Fault: malformed(0, 2), Rest: []string{"ho"}},
				{Wire: "a\\xb\\nc\\\\\nho\n", Fault: malformed(0, 2), Rest: []string{"ho"}},
			},
		},
		{
			Name: "map with CRLF", Options: `{"terminator":"CRLF","also_accept":["LF"],"ignore":["NUL"],"map":{"CR":"r","LF":"n","\\":"\\"}}`,
			Accept: []string{"\r", "\n", "\r\n", "a\r"}, Refuse: []string{"a\x00"},
			Wires: []codectest.Wire{
				{Wire: "a\rb\r\nc\nd\r\r\n", Want: []string{"a\rb", "c", "d\r"}},
				{Wire: "\x00a\r\x00\x00\nb\\\\\x00\n", Want: []string{"a", "b\\"}},
				{Wire: "a\\\x00n\n", Fault: malformed(0, 2)},
			},
		},
		{
			Name: "slip", Options: slip, Accept: []string{"\xc0", "\xdb", "\xdc\xdd"},
			Frames: []codectest.Frame{frame("\x01\xc0\xdb\x02", "\xc0\x01\xdb\xdc\xdb\xdd\x02\xc0")},
			Wires: []codectest.Wire{
				{Wire: "\x01\xc0\xc0\xc0\x02\xc0", Want: []string{"\x01", "\x02"}},
				{Wire: "\xc0\x01\xdb\x02\xc0\x03\xc0", Fault: malformed(1, 3), Rest: []string{"\x03"}},
				{Wire: "\xc0\x01\xdb\xdb\xdc\xc0\x03\xc0", Fault: malformed(1, 3), Rest: []string{"\x03"}},
			},
		},
		{
			Name: "ppp", Options: ppp, Accept: []string{"\x7e", "\x7d", "\x00\x1f", "\x5e\x5d"},
			Frames: []codectest.Frame{frame("\x31\x7e\x7d\x11", "\x7e\x31\x7d\x5e\x7d\x5d\x7d\x31\x7e")},
			Wires: []codectest.Wire{
				{Wire: "~1~2~", Want: []string{"1", "2"}},                  // one flag between two frames
				{Wire: "~1\x11\n2\x00~\x13~3~", Want: []string{"12", "3"}}, // inserted by equipment on the way
				{Wire: "~12}~34~", Want: []string{"34"}},                   // an abort
				{Wire: "~12}}~~3~", Want: []string{"12]", "3"}},            // }} is ], not the start of an abort
				{Wire: "~1}\x112~", Want: []string{"112"}},                 // escaped, so not ignored
				{Wire: "~12}", Fault: truncated(1, 4)},
				{Wire: "~}~}~\x01}~", Want: nil},
				{Wire: "~}A~", Want: []string{"a"}}, // escaped without need, which is accepted
				{Wire: "\x01\x02\x03", Want: nil},
				{Wire: "\x01~\x02" + "abc", Want: nil, Fault: truncated(3, 6), Rest: nil},
			},
		},
		{
			Name: "abort with a long terminator", Options: `{"terminator":"ab","style":"xor","escape":"\\","abort":true}`,
			Accept: []string{"ab", "aab", "a", "b"},
			Wires: []codectest.Wire{
				{Wire: `x\abyab`, Want: []string{"y"}},
				{Wire: `x\acyab` + "zab", Fault: malformed(0, 3), Rest: []string{"z"}},
				{Wire: `x\aab` + "zab", Fault: malformed(0, 3), Rest: []string{"z"}},
				{Wire: `x\a`, Fault: truncated(0, 3)},
			},
		},
		{
			Name: "dle-stx", Options: dleSTX, Accept: []string{"", "\x10", "\x10\x10", "\x10\x02", "\x10\x03"},
			Frames: []codectest.Frame{frame("\x41\x10\x42", "\x10\x02\x41\x10\x10\x42\x10\x03")},
			Wires: []codectest.Wire{
				{Wire: "\x10\x02a\x10\x03b\x10\x03\x10\x02c\x10\x03", Want: []string{"a"}, Fault: malformed(5, 5), Rest: []string{"c"}},
				{Wire: "\x10\x02a\x10\x02b\x10\x03\x10\x02c\x10\x03", Fault: malformed(0, 4), Rest: []string{"c"}},
				{Wire: "\x10\x03\x10\x02c\x10\x03", Fault: malformed(0, 1), Rest: []string{"c"}},
				{Wire: "\x10", Fault: truncated(0, 1)},
			},
		},
		{
			Name: "double with several terminators", Options: `{"terminator":"\\end","also_accept":["\\e\\x","\\f"],"style":"double","ignore":["NUL"],"empty":"refuse"}`,
			Accept: []string{`\end`, `\\`, "e", `\e\x`}, Refuse: []string{"", "\x00"},
			Wires: []codectest.Wire{
				{Wire: "a\\endb\\e\\xc\\f\\\\\\fd\\en\x00d", Want: []string{"a", "b", "c", `\`, "d"}},
				{Wire: `a\e\eb\fc\f`, Fault: malformed(0, 4), Rest: []string{"c"}},
				{Wire: "\\fa\\f", Fault: malformed(0, 1), Rest: []string{"a"}},
				{Wire: "a\\\x00\\fc\\f", Fault: malformed(0, 2), Rest: []string{"c"}},
			},
		},
		{
			Name: "smtp-data", Options: smtpData, Sized: mail,
			Accept: []string{"", "a\r\n", ".\r\n", "..\r\n", "\r\n", "\r\n\r\n", "a\r\n.\r\nb\r\n", ".a\r\n"},
			Refuse: []string{"a", ".", "\r", "\n", "a\n", "a\r", "a\rb\r\n", "a\r\nb", "\n\r\n", "\r\r\n", "a\n.\n\r\n"},
			Frames: []codectest.Frame{
				frame("a\r\n.b\r\n", "a\r\n..b\r\n.\r\n"), frame("", ".\r\n"), frame(".\r\n.\r\n", "..\r\n..\r\n.\r\n"),
			},
			Wires: []codectest.Wire{
				{Wire: ".a\r\n.\r\n", Want: []string{"a\r\n"}}, // the receiver removes one dot
				{Wire: "a\n.\r\nb\r\n.\r\nc\r\n.\r\n", Fault: malformed(0, 1), Rest: []string{"c\r\n"}},
				{Wire: "a\r.\r\nb\r\n.\r\nc\r\n.\r\n", Fault: malformed(0, 2), Rest: []string{"c\r\n"}},
				{Wire: "a\r\n.\rb\r\n.\r\nc\r\n.\r\n", Fault: malformed(0, 5), Rest: []string{"c\r\n"}},
				{Wire: "a\r\n.\nb\r\n.\r\nc\r\n.\r\n", Fault: malformed(0, 4), Rest: []string{"c\r\n"}},
				{Wire: "a\r\n.\r", Fault: truncated(0, 5)},
			},
		},
		{
			Name: "line_dot with ignored bytes and a start", Options: `{"style":"line_dot","terminator":"0x0D0A2E0D0A","start":"<","ignore":["NUL"],"unterminated":"deliver"}`,
			Sized: mail, EndDelivers: true, Accept: []string{"", ".\r\n"}, Refuse: []string{"\x00\r\n"},
			Frames: []codectest.Frame{frame(".\r\n", "<..\r\n.\r\n")},
			Wires: []codectest.Wire{
				{Wire: "\x00<\x00a\x00\r\x00\n\x00.\x00.\x00b\r\n\x00.\x00\r\x00\n", Want: []string{"a\r\n.b\r\n"}},
				{Wire: "<a\r\n", Want: []string{"a\r\n"}},
				{Wire: "<a\r\n\x00", Want: []string{"a\r\n"}},
				{Wire: "<", Want: []string{""}},
				{Wire: "<a\r\nb", Fault: truncated(0, 5)},
				{Wire: "<a\r\n.", Fault: truncated(0, 5)},
				{Wire: "<\r\n.\x00a\r\n", Want: []string{"\r\na\r\n"}},
			},
		},
		{
			Name: "newline", Options: newline, Accept: []string{"hello", "", "\r", "\\"}, Refuse: []string{"\n", "a\nb", "a\n"},
			Frames: []codectest.Frame{frame("hello", "hello\n"), frame("<13>1 - - tag - - - hello", "<13>1 - - tag - - - hello\n")},
		},
		{
			Name: "crlf", Options: crlf, Accept: []string{"a\rb", "", "\ra"}, Refuse: []string{"a\n", "a\r\nb", "a\nb"},
			Frames: []codectest.Frame{frame("a\r", "a\r\r\n"), frame("NICK x", "NICK x\r\n")},
			Wires: []codectest.Wire{
				{Wire: "a\r\nb\nc\r\r\n\r\r\n", Want: []string{"a", "b", "c\r", "\r"}},
				{Wire: "a\r\nb\r", Want: []string{"a"}, Fault: truncated(3, 5)},
			},
		},
		{
			Name: "mllp", Options: mllp, Accept: []string{hl7Message, "\r", "\x1c"}, Refuse: []string{"\x0b", "a\x1c\rb"},
			Frames: []codectest.Frame{frame(hl7Message, "\x0b"+hl7Message+"\x1c\r")},
			Wires: []codectest.Wire{
				{Wire: "\x0ba\x1c\x1c\r", Want: []string{"a\x1c"}},
				{Wire: "\x1c\r\x0bb\x1c\r", Fault: malformed(0, 0), Rest: []string{"b"}},
			},
		},
		{
			Name: "many terminators", Options: `{"terminator":"aab","style":"none","also_accept":["ab","xaay","xz"],"unterminated":"deliver"}`,
			EndDelivers: true, Accept: []string{"c", "xa", "xaaz", ""}, Refuse: []string{"ab", "xz", "cab"},
			Wires: []codectest.Wire{
				{Wire: "caaabxaabxaxz", Want: []string{"ca", "x", "xa"}},
				{Wire: "xaabxaay", Want: []string{"x", ""}},
				{Wire: "xaa", Want: []string{"xaa"}},
			},
		},
		{
			Name: "ignored bytes within a terminator", Options: `{"terminator":"CRLF","style":"none","start":"<<","ignore":["NUL","80-FF"]}`,
			Accept: []string{"a\r", ""}, Refuse: []string{"\x00", "a\xff", "<<", "a<<"},
			Wires: []codectest.Wire{
				{Wire: "\x80<\x00<\x00a\x00b\r\x00\n\x00", Want: []string{"ab"}},
				{Wire: "\x80<\x00<\x00a\x00b\r\x00", Fault: truncated(1, 10)},
				{Wire: "\x80<\x00", Fault: truncated(1, 3)},
				{Wire: "\x80<\x00a\r\x80\n<<b\r\n", Fault: malformed(1, 3), Rest: []string{"b"}},
			},
		},
		{
			Name: "too long", Options: crlf, MaxFrame: 3,
			Wires: []codectest.Wire{
				{Wire: "abc\r\nabcd\r\nab\n", Want: []string{"abc"}, Fault: tooLongAt(5, 8), Rest: []string{"ab"}},
				{Wire: "abc\rd\r\nab\n", Fault: tooLongAt(0, 4), Rest: []string{"ab"}}, // the CR might have begun a terminator
				{Wire: "abc\rd", Fault: tooLongAt(0, 4)},
				{Wire: "abc\r", Fault: truncated(0, 4)},
			},
		},
		{
			Name: "too long with escapes", MaxFrame: 3,
			Wires: []codectest.Wire{
				{Wire: `\n\n\n` + "\n" + `\n\n\n\x` + "\nab\n", Want: []string{"\n\n\n"}, Fault: tooLongAt(7, 14), Rest: []string{"ab"}},
				{Wire: `\n\n\n\n` + "\nab\n", Fault: tooLongAt(0, 7), Rest: []string{"ab"}},
				{Wire: `abcd\x` + "\nab\n", Fault: tooLongAt(0, 3), Rest: []string{"ab"}},
			},
		},
	}
}

// Framings that differ from those above in one detail run the smaller suite.
func TestVariants(t *testing.T) {
	configure := func(options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
		return codeccall.Configure(Codec, options, maxFrame)
	}
	codectest.RunCalls(t, configure,
		codectest.Case{
			Name: "escape to the terminator", Options: `{"map":{"LF":"LF","\\":"\\"}}`, Accept: []string{"\n", "\\\n"},
			Frames: []codectest.Frame{frame("\n\\", "\\\n\\\\\n")},
		},
		codectest.Case{
			Name: "kiss", Options: slip,
			Frames: []codectest.Frame{frame("\x00TEST", "\xc0\x00TEST\xc0"), frame("\x10\xdb\xc0", "\xc0\x10\xdb\xdd\xdb\xdc\xc0")},
		},
		codectest.Case{
			Name: "xor without abort", Options: `{"style":"xor","xor":"0x02","also":["a"],"ignore":["00-02","z"]}`,
			Accept: []string{"\n", "\\", "z", "\x00", "a"},
			Frames: []codectest.Frame{frame("a\nz", "\\c\\\x08\\x\n")},
		},
		codectest.Case{
			Name: "telnet-eor", Options: telnetEOR, Accept: []string{"\xff", "\xff\xef", "\xef"},
			Frames: []codectest.Frame{frame("a\xffb", "a\xff\xffb\xff\xef")},
			Wires: []codectest.Wire{
				{Wire: "a\xff\xfb\x01b\xff\xefc\xff\xef", Fault: malformed(0, 2), Rest: []string{"c"}},
				{Wire: "\xff\xff\xff\xef\xff\xef", Want: []string{"\xff", ""}},
			},
		},
		codectest.Case{
			Name: "nul", Options: nul, Accept: []string{`{"a":1}`}, Refuse: []string{"\x00"},
			Frames: []codectest.Frame{frame(`{"a":1}`, `{"a":1}`+"\x00")},
		},
		codectest.Case{
			Name: "stx-etx", Options: stxETX, Accept: []string{"", "hello"}, Refuse: []string{"a\x02b", "a\x03b"},
			Frames: []codectest.Frame{frame("hello", "\x02hello\x03")},
			Wires: []codectest.Wire{
				{Wire: "\x02a\x03\r\n\x02b\x03\x02c\x03", Want: []string{"a"}, Fault: malformed(3, 3), Rest: []string{"c"}},
				{Wire: "\x03\x02b\x03", Fault: malformed(0, 0), Rest: []string{"b"}},
				{Wire: "\x02", Fault: truncated(0, 1)},
			},
		},
		codectest.Case{
			Name: "json-seq", Options: jsonSeq, Accept: []string{`{"a":1}`}, Refuse: []string{"\n", "\x1e"},
			Frames: []codectest.Frame{frame(`{"a":1}`, "\x1e"+`{"a":1}`+"\n")},
		},
		codectest.Case{
			Name: "ndjson", Options: ndjson, Accept: []string{`{"a":1}`, "\ra"}, Refuse: []string{"a\r", "\r", "a\nb"},
			Frames: []codectest.Frame{frame(`{"a":1}`, `{"a":1}`+"\n")},
			Wires:  []codectest.Wire{{Wire: "1\r\n\n\r\n2\n", Want: []string{"1", "2"}}},
		},
		codectest.Case{
			Name: "nmea0183", Options: crlf, MaxFrame: 1024,
			Frames: []codectest.Frame{frame("$GPGLL,5057.970,N,00146.110,E,142451,A*27", "$GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n")},
		},
		codectest.Case{
			Name: "terminator that overlaps itself", Options: `{"terminator":"aa","style":"none"}`,
			Accept: []string{"b", "ab"}, Refuse: []string{"ba", "a", "aa", "baab"},
			Wires: []codectest.Wire{{Wire: "baaa" + "baa", Want: []string{"b", "ab"}}},
		},
		codectest.Case{
			Name: "unterminated is delivered", Options: `{"unterminated":"deliver","empty":"skip"}`, EndDelivers: true,
			Wires: []codectest.Wire{
				{Wire: "hi\nho", Want: []string{"hi", "ho"}},
				{Wire: "hi\nho\\n", Want: []string{"hi", "ho\n"}},
				{Wire: "hi\nho\\", Want: []string{"hi"}, Fault: truncated(3, 6)},
			},
		},
		codectest.Case{
			Name: "empty frames are refused", Options: `{"style":"none","empty":"refuse","start":"STX","unterminated":"deliver"}`, EndDelivers: true,
			Refuse: []string{""}, Wires: []codectest.Wire{
				{Wire: "\x02a\n\x02\n\x02b\n", Want: []string{"a"}, Fault: malformed(3, 4), Rest: []string{"b"}},
				{Wire: "\x02a\n\x02", Want: []string{"a"}, Fault: malformed(3, 4)},
			},
		},
		codectest.Case{
			Name: "too long with ignored bytes", Options: `{"style":"none","ignore":["."]}`, MaxFrame: 3,
			Wires: []codectest.Wire{
				{Wire: "..a.b\na..b\na..\na...\nab\n", Want: []string{"ab"}, Fault: tooLongAt(6, 10), Rest: []string{"a", "ab"}},
				{Wire: "..........a\n", Want: []string{"a"}},
			},
		},
	)
}

// A host returns the state it was given; after an upgrade that may be the state of an older version.
func TestStrangeStateMeansDiscarding(t *testing.T) {
	for _, state := range []string{"x", "\x00\x00", "\xff\xff", "\x00\x00\x00"} {
		for options, wire := range map[string]string{``: "abc\n", mllp: "abc\x1c\r", smtpData: "abc\r\n.\r\n"} {
			f, _, err := Codec.Configure(json.RawMessage(options), 100)
			if err != nil {
				t.Fatal(err)
			}
			in := codecs.Wire{Bytes: []byte(wire), State: []byte(state), MaxFrame: 100}
			var out codecs.Payloads
			out.Reset(in, 100)
			if n, err := f.Decode(&out, in); err != nil || n != len(wire) || out.Len() > 0 || len(out.State()) > 0 {
				t.Errorf("options %s, state %x: got %d of %d bytes consumed, %d payloads, state %x, %v; want all, and nothing of it",
					options, state, n, len(wire), out.Len(), out.State(), err)
			}
		}
	}
}

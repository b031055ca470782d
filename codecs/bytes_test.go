package codecs_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/framehost/framehost/codecs"
)

func TestParseBytes(t *testing.T) {
	tests := []struct{ text, want, fault string }{
		{text: "LF", want: "\n"},
		{text: "CRLF", want: "\r\n"},
		{text: "lf", want: "lf"},
		{text: "0x1C0D", want: "\x1c\r"},
		{text: "0x1c0d", want: "\x1c\r"},
		{text: "0X0A", want: "0X0A"},
		{text: `\n`, want: `\n`},
		{text: "", want: ""},
		{text: "0x", fault: "two hex digits for each byte after 0x"},
		{text: "0x0", fault: "two hex digits for each byte after 0x"},
		{text: "0x0G", fault: "two hex digits for each byte after 0x"},
		{text: "é", fault: "such as 0xC3A9 for UTF-8"},
	}
	for _, test := range tests {
		got, err := codecs.ParseBytes(test.text)
		switch {
		case test.fault != "":
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%q: got %q, %v, want an error with %q", test.text, got, err, test.fault)
			}
		case err != nil || string(got) != test.want:
			t.Errorf("%q: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

// FuzzBytes checks that the written form of any bytes is read back as the same bytes.
func FuzzBytes(f *testing.F) {
	for _, b := range []string{"", "\n", "LF", "0x", "0x0A", "a b", "\x00\xff", "é", "~", "\x7f"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := codecs.Bytes(b).String()
		if back, err := codecs.ParseBytes(text); err != nil || string(back) != string(b) {
			t.Fatalf("% x is written as %q, which is read as % x, %v", b, text, string(back), err)
		}
	})
}

func TestByteMap(t *testing.T) {
	tests := []struct {
		json  string
		want  codecs.ByteMap
		fault string
	}{
		{`{"LF": "n", "\\": "\\"}`, codecs.ByteMap{'\n': 'n', '\\': '\\'}, ""},
		{`{"0xC0": "0xDC"}`, codecs.ByteMap{0xc0: 0xdc}, ""},
		{`{}`, codecs.ByteMap{}, ""},
		{`[]`, nil, "want a mapping of one byte to one byte"},
		{`{"LF": 1}`, nil, "want a mapping of one byte to one byte"},
		{`{"CRLF": "n"}`, nil, `option CRLF: got "CRLF", 2 bytes, want one byte`},
		{`{"LF": "nn"}`, nil, `option LF: got "nn", 2 bytes, want one byte`},
		{`{"LF": "0x0"}`, nil, `option LF: got "0x0", want two hex digits`},
		{`{"LF": "n", "0x0A": "m"}`, nil, "option LF: got a byte that is mapped already"},
	}
	for _, test := range tests {
		got := codecs.ByteMap{'x': 'y'}
		err := json.Unmarshal([]byte(test.json), &got)
		switch {
		case test.fault != "":
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%s: got %v, %v, want an error with %q", test.json, got, err, test.fault)
			}
		case err != nil || !reflect.DeepEqual(got, test.want):
			t.Errorf("%s: got %v, %v, want %v", test.json, got, err, test.want)
		}
	}
}

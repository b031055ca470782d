package lenprefix

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestOptionsRefused(t *testing.T) {
	tests := []struct{ options, want string }{
		{`{"width": 9}`, `option width: got 9, want 1 to 8 with format be, or 0 with a separator`},
		{`{"width": -1}`, `option width: got -1, want 1 to 8 with format be, or 0 with a separator`},
		{`{"width": 11, "format": "ascii_hex"}`,
			`option width: got 11, want 1 to 10 with format ascii_hex, or 0 with a separator`},
		{`{"width": 6, "format": "bcd"}`, `option width: got 6, want 1 to 5 with format bcd, or 0 with a separator`},
		{`{"format": "BE"}`, `option format: got "BE", want be, le, ascii_dec, ascii_hex or bcd`},
		{`{"format": 3}`, `option format: got 3, want a string`},
		{`{"width": 0, "format": "be", "separator": ":"}`, `option format: got "be", want ascii_dec with width 0`},
		{`{"width": 0}`, `option separator: want 1 to 64 bytes with width 0`},
		{`{"width": 0, "separator": "1:"}`, `option separator: got 1:, want a first byte that is not a digit`},
		{`{"separator": ":"}`, `option separator: got :, want none unless width is 0`},
		{`{"width": 0, "separator": ":", "after": "x"}`,
			`option after: got x, want none with width 0; add it to separator`},
		{`{"width": 0, "separator": ":", "pad": "space"}`,
			`option pad: got "space", want zero with width 0, which has nothing to pad`},
		{`{"pad": "space"}`,
			`option pad: got "space", want zero with format be; only digits are padded with spaces`},
		{`{"pad": "none"}`, `option pad: got "none", want zero or space`},
		{`{"counts": "all"}`, `option counts: got "all", want payload or frame`},
		{`{"adjust": 2147483648}`, `option adjust: got 2147483648, want -2147483648 to 2147483647`},
		{`{"width": 1, "adjust": 255}`,
			`option adjust: got 255, want one with which a length of at most 255 can announce a payload`},
		{`{"width": 1, "format": "ascii_dec", "counts": "frame", "trailer": "12345678"}`,
			`option adjust: got 0, want one with which a length of at most 9 can announce a payload`},
		{`{"offset": 4}`,
			`option offset: got 4, want 0 without keep_header, since what lies in front of the length would be lost`},
		{`{"offset": 4097, "keep_header": true}`, `option offset: got 4097, want 0 to 4096`},
		{`{"offset": 1, "before": "0x0300", "keep_header": true}`,
			`option offset: got 1, want 0, or at least the 2 bytes of before`},
		{`{"control": [0]}`, `option control: got [0], want none without keep_header, since a bare header would be lost`},
		{`{"control": [7, 7], "keep_header": true}`, `option control: got 7 twice, want each value once`},
		{`{"control": [256], "keep_header": true, "width": 1}`,
			`option control: got 256, want values of a length, 0 to 255`},
		{`{"control": [-1], "keep_header": true}`, `option control: got [-1], want a whole number, not negative`},
		{`{"empty": "drop"}`, `option empty: got "drop", want deliver, skip or refuse`},
		{fmt.Sprintf(`{"trailer": %q}`, strings.Repeat("a", 65)), `option trailer: got 65 bytes, want at most 64 bytes`},
		{`{"width": 0, "pad": "space", "counts": "all", "offset": 1, "empty": "no", "control": [1]}`,
			`option pad: got "space", want zero with width 0, which has nothing to pad
option separator: want 1 to 64 bytes with width 0
option offset: got 1, want 0 without keep_header, since what lies in front of the length would be lost
option control: got [1], want none without keep_header, since a bare header would be lost
option counts: got "all", want payload or frame
option empty: got "no", want deliver, skip or refuse`},
	}
	for _, tt := range tests {
		if _, _, err := Codec.Configure(json.RawMessage(tt.options), 100); text(err) != tt.want {
			t.Errorf("%s:\n got  %v\n want %s", tt.options, err, tt.want)
		}
	}
}

func TestOptionsInForce(t *testing.T) {
	tests := []struct{ options, want string }{
		{``, `"format":"be"`},
		{netstring, `"format":"ascii_dec"`},
		{`{"before": "0x0300", "keep_header": true}`, `"offset":2`},
		{``, `"control":[]`},
	}
	for _, tt := range tests {
		_, inForce, err := Codec.Configure(json.RawMessage(tt.options), 100)
		if err != nil || !strings.Contains(string(inForce), tt.want) {
			t.Errorf("%s: got %s, %v, want %s", tt.options, inForce, err, tt.want)
		}
	}
}

// TestWantIsShort checks that the Want of a fault has room for the longest constants.
func TestWantIsShort(t *testing.T) {
	long := "0x" + strings.Repeat("00", 64)
	options := fmt.Sprintf(`{"before": %[1]q, "offset": 4096, "keep_header": true, "width": 0, "separator": %[1]q,
		"trailer": %[1]q}`, long)
	before := strings.Repeat("\x00", 4096)
	for _, wire := range []string{"x", before, before + "x", before + "0x", before + "0" + before[:64] + "x"} {
		if _, err := newStream(t, options, 10000).Decode(wire); err == nil {
			t.Errorf("decode %d bytes: got no fault", len(wire))
		}
	}
}

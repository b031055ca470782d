package base64

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestOptionsRefused(t *testing.T) {
	tests := []struct{ options, want string }{
		{`{"alphabet": "mime"}`, `option alphabet: got mime, want std, url or 64 distinct bytes`},
		{fmt.Sprintf(`{"alphabet": %q}`, std[1:]), `option alphabet: got 63 bytes, want std, url or 64 distinct bytes`},
		{fmt.Sprintf(`{"alphabet": %q}`, "B"+std[1:]), `option alphabet: got B twice, want each byte once`},
		{fmt.Sprintf(`{"alphabet": %q, "terminator": "NUL"}`, "\n"+std[1:]),
			`option alphabet: got LF, want neither CR nor LF, which lenient decoders pass over`},
		{fmt.Sprintf(`{"alphabet": %q}`, "="+std[1:]), `option alphabet: got =, want no = unless padding is none`},
		{`{"padding": "maybe"}`, `option padding: got "maybe", want required, none or optional`},
		{`{"terminator": "END"}`, `option terminator: got END, want no byte that is a digit or padding`},
		{`{"terminator": "="}`, `option terminator: got =, want no byte that is a digit or padding`},
		{fmt.Sprintf(`{"terminator": %q}`, strings.Repeat(".", 65)),
			`option terminator: got 65 bytes, want at most 64 bytes`},
		{`{"wrap": -1}`, `option wrap: got -1, want 0 to 65536`},
		{`{"wrap": 65537}`, `option wrap: got 65537, want 0 to 65536`},
		{`{"wrap": 76}`,
			`option terminator: got LF, want one that is not in wrapped text, where lines end in CRLF, such as 0x0D0A0D0A`},
		{`{"wrap": 76, "terminator": ""}`, `option terminator: want 1 to 64 bytes with wrap`},
		{`{"wrap": 76, "terminator": "NUL", "line_end": ""}`, `option line_end: want 1 to 64 bytes with wrap`},
		{`{"wrap": 76, "terminator": "NUL", "line_end": "-a"}`,
			`option line_end: got -a, want no byte that is a digit or padding`},
		{`{"line_end": "LF"}`, `option line_end: got LF, want none without wrap`},
		{`{"strict": "yes"}`, `option strict: got "yes", want true or false`},
		{`{"empty": "drop"}`, `option empty: got "drop", want deliver, skip or refuse`},
		{`{"alphabet": "x", "padding": "x", "wrap": -1, "empty": "x"}`,
			`option alphabet: got x, want std, url or 64 distinct bytes
option padding: got "x", want required, none or optional
option wrap: got -1, want 0 to 65536
option empty: got "x", want deliver, skip or refuse`},
	}
	for _, tt := range tests {
		if _, _, err := Codec.Configure(json.RawMessage(tt.options), 100); fault(err) != tt.want {
			t.Errorf("%s:\n got  %v\n want %s", tt.options, err, tt.want)
		}
	}
	_, _, err := Codec.Configure(json.RawMessage(`{"wrap": 1, "terminator": "0x0D0A0D0A"}`), 1<<30)
	if want := "option wrap: got 1, want lines so long that a payload of 1073741824 bytes takes at most 2147483647 on the wire"; fault(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A bytes value in the notation of another program is read as text, with a warning.
func TestMeantBytes(t *testing.T) {
	tests := []struct{ text, meant string }{
		{`\n`, "LF"}, {`\r\n`, "CRLF"}, {`\t`, "TAB"}, {`\0`, "NUL"}, {`\x1c\x0d`, "0x1C0D"},
		{"lf", "LF"}, {"Crlf", "CRLF"}, {"stx", "STX"}, {"<LF>", "LF"}, {"[etx]", "ETX"},
		{"0A", "LF"}, {"0d0a", "CRLF"}, {"1C0D", "0x1C0D"}, {"0X0A", "0x0A"}, {"0Ah", "0x0A"}, {"x0A", "0x0A"}, {"$0D", "0x0D"},
		{"^J", "LF"}, {"^M^J", "CRLF"}, {"^@", "NUL"}, {`\012`, "LF"}, {`\015\012`, "CRLF"}, {`\377`, "0xFF"},
		{"LF CR", "0x0A0D"}, {"CR LF", "CRLF"}, {"CR+LF", "CRLF"}, {"fs, cr", "0x1C0D"},
		{"^", ""}, {"^j", ""}, {`\400`, ""}, {"OR IF", ""}, {"a+b", ""},
		{"LF", ""}, {"0x0A", ""}, {`\`, ""}, {"n", ""}, {"ab", ""}, {"42", ""}, {"10", "DLE"}, {"2025", ""}, {"MSH", ""}, {`a\n`, ""},
		{"<x>", ""}, {"", ""}, {"\n", ""},
	}
	for _, tt := range tests {
		if got, _ := intendedBytes(tt.text); got != tt.meant {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.meant)
		}
	}
}

// Inside a mapping in braces, ${HOME} is a syntax error in YAML, and the error mentions variables.
func TestVariablesInBraces(t *testing.T) {
	_, err := Parse("test.yaml", "yaml", []byte("limits: {max_frame: 1MiB}\ncontrol: {socket: ${HOME}/x}\n"), LoadOptions{})
	want := "; ${HOME} is taken as it is written: variables are not substituted in a file"
	if err == nil || !strings.HasPrefix(err.Error(), "test.yaml:2:") || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want an error of line 2 that ends in %q", err, want)
	}
}

func TestHintsAreWarnings(t *testing.T) {
	c := mustParse(t, `codecs:
  - {name: a, plugin: escape, options: {terminator: '\n', also_accept: [lf, CRLF], map: {0A: n}, style: lf}}
  - {name: b, plugin: escape, options: {terminator: "\n"}}
plugins:
  - {name: p, path: ./p, args: ["${HOME}/x", $HOME, $HOME/x, a$HOME/x]}
routes:
  - name: r
    from: {listen: "tcp://:1", codec: a, select: [{starts_with: stx, codec: b}]}
    to: {dial: "tcp://a:1", codec: a}
`, LoadOptions{})
	schema := json.RawMessage(`{"properties": {
		"terminator": {"type": "string", "format": "framehost-bytes"}, "style": {"type": "string"},
		"also_accept": {"type": "array", "items": {"type": "string", "format": "framehost-bytes"}},
		"map": {"type": "object", "propertyNames": {"format": "framehost-bytes"}}}}`)
	warnings := c.Warnings
	for i := range c.Codecs {
		warnings = append(warnings, c.Codecs[i].OptionWarnings(schema)...)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := []string{
		`test.yaml:5:33: plugins[0].args[0]: ${HOME} is taken as it is written: variables are not substituted in a file`,
		`test.yaml:5:53: plugins[0].args[2]: $HOME/ is taken as it is written: variables are not substituted in a file`,
		`test.yaml:8:65: routes[0].from.select[0].starts_with: "stx" is a text of 3 characters; did you mean STX?`,
		`test.yaml:2:53: codecs[0].options.terminator: "\n" is a text of 2 characters; did you mean LF?`,
		`test.yaml:2:73: codecs[0].options.also_accept[0]: "lf" is a text of 2 characters; did you mean LF?`,
		`test.yaml:2:94: codecs[0].options.map.0A: "0A" is a text of 2 characters; did you mean LF?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

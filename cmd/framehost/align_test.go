package main

import (
	"bytes"
	"strings"
	"testing"
)

// partsText returns parts as a line: framing in angle brackets, and bytes that stand for a payload byte as [wire=payload].
func partsText(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		switch p.kind {
		case framing:
			b.WriteString("<" + string(p.wire) + ">")
		case standsFor:
			b.WriteString("[" + string(p.wire) + "=" + string(p.payload) + "]")
		default:
			b.Write(p.wire)
		}
	}
	return b.String()
}

func TestAlign(t *testing.T) {
	tests := []struct {
		name, payload, wire string
		at                  int
		others              []string
		want                string
	}{
		{"where it lies is known", "ab", "2 ab,", 2, nil, "<2 >ab<,>"},
		{"where it lies is known, and is not where it seems", "33", "333,", 1, nil, "<3>33<,>"},
		{"an empty payload", "", "0:,", -1, nil, "<0:,>"},
		{"an escape stands for other bytes, and for itself", "a~b\\", `a\tb\\~`, -1, []string{"a~", "bc~"}, `a[\t=~]b[\\=\]<~>`},
		{"XOR", "1~}!", "~1}^}]}Z~", -1, nil, "<~>1[}^=~][}]=}][}Z=!]<~>"},
		{"a map of the escape", "a~", "<a~.>", -1, []string{"<b>", "<cd>"}, "<<>a[~.=~]<>>"},
		{"doubled", "A/B", "/(A//B/)", -1, nil, "</(>A[//=/]B</)>"},
		{"a dot is doubled after a line's end", "a\n.b\n", "a\n..b\n.\n", -1, nil, "a\n[..=.]b\n<.\n>"},
		{"framing that is a payload byte as well", "a;b;", `a\;b\;;`, -1, nil, `a[\;=;]b[\;=;]<;>`},
		{"the payload is transformed as a whole", "foo", "Zm9v;", -1, []string{"YQ==;", "YmM=;"}, "[Zm9v=foo]<;>"},
		{"and all frames begin alike", "foob", "^Zm9vYg==;", -1, []string{"^YQ==;", "^Z2hp;"}, "<^>[Zm9vYg===foob]<;>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var others [][]byte
			for _, other := range tt.others {
				others = append(others, []byte(other))
			}
			parts := align([]byte(tt.payload), []byte(tt.wire), tt.at, others)
			if got := partsText(parts); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var wire, payload []byte
			for _, p := range parts {
				wire, payload = append(wire, p.wire...), append(payload, p.payload...)
			}
			if string(wire) != tt.wire || string(payload) != tt.payload {
				t.Errorf("parts have wire %q and payload %q", wire, payload)
			}
		})
	}
}

// Lines have the full width, and no trailing blanks.
func TestDraw(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("x", pictureWidth-1)
	draw(&b, palette{}, []part{{framing, []byte("\x02"), nil}, {plain, []byte(long + "\xff "), []byte(long + "\xff ")}, {framing, []byte("\r"), nil}})
	want := `  payload       ` + strings.TrimRight(strings.Repeat("x   ", pictureWidth-1), " ") + `
  wire      02  ` + strings.TrimRight(strings.Repeat("78  ", pictureWidth-1), " ") + `
            STX ` + strings.TrimRight(strings.Repeat("x   ", pictureWidth-1), " ") + `
            ^^
  payload   ..  SP
  wire      FF  20  0D
            ..  SP  CR
                    ^^
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

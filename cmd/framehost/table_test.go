package main

import "testing"

func TestPrintableText(t *testing.T) {
	for text, want := range map[string]string{
		"unix:///run/scale.sock": "unix:///run/scale.sock", "größe": "größe", "a b": "a b",
		"unix://\x00a\x1b[2J\nrow": `"unix://\x00a\x1b[2J\nrow"`, "a\tb": `"a\tb"`, "\xff": `"\xff"`,
	} {
		if got := printableText(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

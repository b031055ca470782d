package main

import (
	"io"
	"os"
)

// A palette colours text for terminals. The zero value does not change the text.
type palette struct{ on bool }

// paletteFor returns colours if out is a terminal and colours are not turned off.
func paletteFor(out io.Writer, none bool) palette {
	file, ok := out.(*os.File)
	if none || !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return palette{}
	}
	info, err := file.Stat()
	return palette{on: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p palette) paint(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) title(text string) string { return p.paint("1", text) }
func (p palette) faint(text string) string { return p.paint("2", text) }
func (p palette) good(text string) string  { return p.paint("32", text) }
func (p palette) bad(text string) string   { return p.paint("31;1", text) }

// part paints text that shows bytes of that kind.
func (p palette) part(kind partKind, text string) string {
	switch kind {
	case framing:
		return p.paint("36", text)
	case standsFor:
		return p.paint("33", text)
	default:
		return text
	}
}

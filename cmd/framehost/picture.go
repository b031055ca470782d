package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/framehost/framehost/codecs"
)

// pictureLegend says what the marks in a picture mean.
const pictureLegend = "^^ framing    == stands for other payload bytes    the rest is the payload as it is"

// pictureWidth is how many bytes of wire a line of a picture has.
const pictureWidth = 20

// A cell is one column of a picture: a byte of the wire with the payload byte above it, if there is one.
type cell struct {
	kind          partKind
	wire, payload []byte // one byte, or none
}

// cells lays out parts in columns. A payload byte is above the first of the wire bytes that stand for it.
func cells(parts []part) []cell {
	var all []cell
	for _, p := range parts {
		for i := range max(len(p.wire), len(p.payload)) {
			c := cell{kind: p.kind}
			if i < len(p.wire) {
				c.wire = p.wire[i : i+1]
			}
			if i < len(p.payload) {
				c.payload = p.payload[i : i+1]
			}
			all = append(all, c)
		}
	}
	return all
}

// draw draws a frame: the payload, and below it the wire in hex and as text, with marks under the bytes that are not payload.
func draw(w io.Writer, paint palette, parts []part) {
	all := cells(parts)
	if !slices.ContainsFunc(all, func(c cell) bool { return len(c.payload) > 0 }) {
		fmt.Fprintf(w, "  %-8s  %q\n", "payload", "")
	}
	for len(all) > 0 {
		line := all[:min(pictureWidth, len(all))]
		all = all[len(line):]
		drawRow(w, paint, "payload", line, func(c cell) string { return byteNames(c.payload) })
		drawRow(w, paint, "wire", line, func(c cell) string { return fmt.Sprintf("%X", c.wire) })
		drawRow(w, paint, "", line, func(c cell) string { return byteNames(c.wire) })
		drawRow(w, paint, "", line, mark)
	}
}

func mark(c cell) string {
	switch {
	case len(c.wire) == 0 || c.kind == plain:
		return ""
	case c.kind == framing:
		return "^^"
	default:
		return "=="
	}
}

func drawRow(w io.Writer, paint palette, label string, line []cell, text func(cell) string) {
	var row strings.Builder
	pending := "" // blanks to write before the next text, so that no row ends in blanks
	for _, c := range line {
		t := text(c)
		if t == "" {
			pending += "    "
			continue
		}
		row.WriteString(pending + paint.part(c.kind, t))
		pending = strings.Repeat(" ", 4-len(t))
	}
	if row.Len() > 0 {
		fmt.Fprintf(w, "  %-8s  %s\n", label, row.String())
	}
}

// byteNames returns a byte as a character or by its name, in at most three ASCII characters.
func byteNames(b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case b[0] == ' ':
		return "SP"
	case b[0] > ' ' && b[0] < 0x7f:
		return string(b)
	default:
		if name := codecs.Bytes(b).String(); !strings.HasPrefix(name, "0x") {
			return name
		}
		return ".."
	}
}

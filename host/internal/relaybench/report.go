//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"
)

// A report is the table of results and the notes on it.
type report struct {
	bench    *bench
	planes   string             // data planes of framehost's plugins
	measured map[string][]round // by name of the row
	lines    []line
	skipped  []string
}

// A line is one line of the table: one figure of a row.
type line struct {
	load, measure, framehost, twin, ratio, target, cpu string
}

var header = line{"load", "measure", "framehost", "twin", "ratio", "target", "CPU a frame: framehost, twin"}

func (l line) cells() []string {
	return []string{l.load, l.measure, l.framehost, l.twin, l.ratio, l.target, l.cpu}
}

func (r *report) add(w *row, rounds []round) {
	if r.measured == nil {
		r.measured = map[string][]round{}
	}
	r.measured[w.name] = rounds
	for i, f := range w.figures {
		l := f.line(w.title,
			collect(rounds, func(o round) float64 { return f.of(w, o.framehost) }),
			collect(rounds, func(o round) float64 { return f.of(w, o.twin) }))
		if i == 0 && w.load.Kind != idle {
			l.cpu = printTime(median(collect(rounds, func(o round) float64 { return o.framehost.CPU / o.framehost.Frames }))) + ", " +
				printTime(median(collect(rounds, func(o round) float64 { return o.twin.CPU / o.twin.Frames })))
		}
		r.lines = append(r.lines, l)
	}
	for _, c := range comparisons {
		if long, short := r.measured[c.long], r.measured[c.short]; c.long == w.name && short != nil {
			r.lines = append(r.lines, c.line(long, short))
		}
	}
}

func (r *report) skip(w *row, why error) {
	r.skipped = append(r.skipped, fmt.Sprintf("not measured: %s: %v", w.title, why))
}

func (f *figure) line(title string, framehost, twin []float64) line {
	ratios := make([]float64, len(framehost))
	for i := range ratios {
		ratios[i] = framehost[i] / twin[i]
	}
	l := line{load: title, measure: f.name}
	value, ratio := median(framehost), median(ratios)
	l.framehost, l.twin, l.ratio = f.print(value), f.print(median(twin)), printRatio(ratio)
	var reached bool
	switch {
	case f.least > 0:
		l.target, reached = fmt.Sprintf("≥ %.2f", f.least), ratio >= f.least
	case f.most > 0:
		l.target, reached = fmt.Sprintf("≤ %.2f", f.most), ratio <= f.most
	default:
		l.target, reached = "≤ "+f.print(f.value), value <= f.value
	}
	if !reached {
		l.target += " (missed)"
	}
	return l
}

// line returns the line that compares bytes per second of long and short, round by round.
func (c *comparison) line(long, short []round) line {
	size := func(name string) float64 {
		for i := range rows {
			if rows[i].name == name {
				return float64(rows[i].load.Size)
			}
		}
		panic("relaybench: there is no row " + name)
	}
	bytesPerSecond := func(r result, name string) float64 { return r.Frames * size(name) / r.Seconds }
	var framehost, twin []float64
	for i := range long {
		framehost = append(framehost, bytesPerSecond(long[i].framehost, c.long)/bytesPerSecond(short[i].framehost, c.short))
		twin = append(twin, bytesPerSecond(long[i].twin, c.long)/bytesPerSecond(short[i].twin, c.short))
	}
	return c.figure.line(c.title, framehost, twin)
}

func collect(rounds []round, of func(round) float64) (values []float64) {
	for _, r := range rounds {
		values = append(values, of(r))
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// circumstances returns the conditions under which the figures were measured.
func (r *report) circumstances() []string {
	kernel := "of an unknown version"
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts := strings.SplitN(string(text), ".", 3)
		kernel = strings.Join(parts[:min(2, len(parts))], ".") // the rest depends on the distribution
	}
	return slices.Concat([]string{
		fmt.Sprintf("%d processors, Linux %s, %s; medians of %d rounds of %v", runtime.NumCPU(), kernel, runtime.Version(),
			r.bench.rounds, r.bench.length),
		"data planes: " + cmp.Or(r.planes, "unknown"),
	}, r.skipped)
}

// text returns the table with aligned cells.
func (r *report) text() string {
	lines := slices.Insert(slices.Clone(r.lines), 0, header)
	widths := make([]int, len(header.cells()))
	for _, l := range lines {
		for i, cell := range l.cells() {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, note := range r.circumstances() {
		b.WriteString(note + "\n")
	}
	b.WriteString("\n")
	for _, l := range lines {
		var text strings.Builder
		for i, cell := range l.cells() {
			text.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return b.String()
}

func (r *report) markdown() string {
	var b strings.Builder
	for _, note := range r.circumstances() {
		b.WriteString(note + "  \n")
	}
	b.WriteString("\n")
	for i, l := range slices.Insert(slices.Clone(r.lines), 0, header) {
		b.WriteString("| " + strings.Join(l.cells(), " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(l.cells())) + "|\n")
		}
	}
	return b.String()
}

// The functions below print numbers with three significant digits.

func printDigits(v float64) string {
	if v <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.*f", max(0, 2-int(math.Floor(math.Log10(v)))), v)
}

func printCount(v float64) string {
	switch {
	case v >= 1e6:
		return printDigits(v/1e6) + " M"
	case v >= 1e4:
		return printDigits(v/1e3) + " k"
	}
	return printDigits(v)
}

func printTime(seconds float64) string {
	if seconds >= 1e-3 {
		return printDigits(seconds*1e3) + " ms"
	}
	return printDigits(seconds*1e6) + " µs"
}

func printKiB(bytes float64) string { return printDigits(bytes/kib) + " KiB" }
func printRatio(v float64) string   { return fmt.Sprintf("%.2f", v) }

//go:build linux

package main

import (
	"fmt"
	"path"
	"strings"
	"syscall"
)

// A row is a load and the figures to show for it.
type row struct {
	name, title string
	load        load
	large       bool // frames are longer than relays accept by default
	figures     []figure
}

// A figure is a number computed from a result, with its targets.
type figure struct {
	name  string // with its unit
	of    func(*row, result) float64
	print func(float64) string
	// Targets: the least and the greatest ratio of framehost to the twin, and the greatest value of framehost. Zero means no target.
	least, most, value float64
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// largestFrame is the frame size that relays must accept for rows with large frames, in bytes.
const largestFrame = 16 * mib

var rows = []row{
	floodRow("flood-64", "flood, 1 connection, 64 B", load{Conns: 1, Size: 64}, 0.75),
	floodRow("flood-256", "flood, 1 connection, 256 B", load{Conns: 1, Size: 256}, 0.75),
	floodRow("flood-100x256", "flood, 100 connections, 256 B", load{Conns: 100, Size: 256}, 0.70),
	floodRow("flood-1k", "flood, 1 connection, 1 KiB", load{Conns: 1, Size: kib}, 0.65),
	floodRow("flood-16k", "flood, 1 connection, 16 KiB", load{Conns: 1, Size: 16 * kib}, 0.65),
	floodRow("flood-escaped", "flood, 1 connection, 256 B, 5 % escaped", load{Conns: 1, Size: 256, Escapes: 5, Escaped: true}, 0.75),
	pingRow("ping-1", "one frame at a time, 1 connection, 256 B", load{Conns: 1, Size: 256}, 2.0, 2.5),
	pingRow("ping-100", "one frame at a time, 100 connections, 256 B", load{Conns: 100, Size: 256}, 1.5, 1.5),
	{
		name: "idle-9000", title: "9,000 connections that carried a frame and went idle",
		load:    load{Kind: idle, Conns: 9000, Size: 256},
		figures: []figure{{name: "PSS a connection", of: memoryPerConnection, print: printKiB, value: 40 * kib}},
	},
	largeRow("flood-4m", "flood, 1 connection, 4 MiB", load{Conns: 1, Size: 4 * mib}),
	largeRow("flood-16m", "flood, 1 connection, 16 MiB", load{Conns: 1, Size: largestFrame}),
}

func floodRow(name, title string, l load, least float64) row {
	l.Kind = flood
	return row{name: name, title: title, load: l, figures: []figure{
		{name: "frames/s", of: framesPerSecond, print: printCount, least: least},
	}}
}

func pingRow(name, title string, l load, p50, p99 float64) row {
	l.Kind = ping
	return row{name: name, title: title, load: l, figures: []figure{
		{name: "p50", of: func(_ *row, r result) float64 { return r.P50 }, print: printTime, most: p50},
		{name: "p99", of: func(_ *row, r result) float64 { return r.P99 }, print: printTime, most: p99},
	}}
}

func largeRow(name, title string, l load) row {
	l.Kind = flood
	return row{name: name, title: title, load: l, large: true, figures: []figure{
		{name: "MiB/s", of: mibPerSecond, print: printCount, least: 0.5},
	}}
}

// A comparison compares two rows that differ only in the length of frames. If the work is linear in the length, both carry the same
// number of bytes per second.
type comparison struct {
	title, long, short string
	figure             figure
}

// If the work grew with the square of the length, the long frames would carry a quarter of the bytes per second.
var comparisons = []comparison{{
	title: "16 MiB against 4 MiB", long: "flood-16m", short: "flood-4m",
	figure: figure{name: "bytes/s, ratio", print: printRatio, least: 0.75},
}}

func framesPerSecond(_ *row, r result) float64     { return r.Frames / r.Seconds }
func mibPerSecond(w *row, r result) float64        { return r.Frames * float64(w.load.Size) / mib / r.Seconds }
func memoryPerConnection(w *row, r result) float64 { return float64(r.PSS) / float64(w.load.Conns) }

// chooseRows returns the rows whose name matches one of the patterns, which are separated by commas.
func chooseRows(patterns string) (chosen []*row, err error) {
	all := strings.Split(patterns, ",")
	matched := make([]bool, len(all))
	for i := range rows {
		taken := false
		for j, pattern := range all {
			ok, err := path.Match(pattern, rows[i].name)
			if err != nil {
				return nil, fmt.Errorf("-rows: %q: %w", pattern, err)
			}
			matched[j] = matched[j] || ok
			taken = taken || ok
		}
		if taken {
			chosen = append(chosen, &rows[i])
		}
	}
	for j, ok := range matched {
		if !ok {
			return nil, fmt.Errorf("-rows: got %q, want some of %s", all[j], rowNames())
		}
	}
	return chosen, nil
}

func rowNames() string {
	var names []string
	for i := range rows {
		names = append(names, rows[i].name)
	}
	return strings.Join(names, " ")
}

// allowDescriptors raises the limit on open descriptors, for processes that are started from now on, to the number that each of them needs
// for a row: two per connection.
func allowDescriptors(w *row) error {
	need := 2*uint64(w.load.Conns) + 200
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	raised := syscall.Rlimit{Cur: max(limit.Cur, need), Max: max(limit.Max, need)} // raising Max needs privileges
	if raised == limit {
		return nil
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("%d sockets a process are more than RLIMIT_NOFILE, which is %d: %w", need, limit.Max, err)
	}
	return nil
}

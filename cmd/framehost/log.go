package main

import (
	"bytes"
	"io"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
)

// newLogger returns a logger as the configuration describes it.
func newLogger(c *config.Config, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "framehost",
		Level:      hclog.LevelFromString(string(c.Log.Level)),
		JSONFormat: c.Log.Format == config.FormatJSON,
		Output:     w,
	})
}

// droppedLines returns a function that formats the log line with the number of dropped lines, in the format of the log and whatever its
// level.
func droppedLines(c *config.Config) func(lines int) []byte {
	always := *c
	always.Log.Level = "trace"
	return func(lines int) []byte {
		var line bytes.Buffer
		newLogger(&always, &line).Warn(linesDropped, "lines", lines)
		return line.Bytes()
	}
}

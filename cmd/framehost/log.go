package main

import (
	"bytes"
	"io"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
)

// newLogger returns the log that the configuration asks for.
func newLogger(c *config.Config, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "framehost",
		Level:      hclog.LevelFromString(string(c.Log.Level)),
		JSONFormat: c.Log.Format == config.FormatJSON,
		Output:     w,
	})
}

// droppedLines returns a function that makes the log line with the number of lines that are missing, in the format of the
// log and at any level.
func droppedLines(c *config.Config) func(lines int) []byte {
	always := *c
	always.Log.Level = "trace"
	return func(lines int) []byte {
		var line bytes.Buffer
		newLogger(&always, &line).Warn(linesDropped, "lines", lines)
		return line.Bytes()
	}
}

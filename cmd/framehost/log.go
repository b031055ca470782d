package main

import (
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

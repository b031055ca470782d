package pluginproc

import (
	"path/filepath"

	"github.com/hashicorp/go-hclog"
)

// A quietLogger is what go-plugin logs to. What it has to say about its own doings is for debugging: that a process
// ended is logged by its Plugin, which knows more. What the plugin itself says comes by way of a logger that go-plugin
// names after the plugin, and keeps its level.
type quietLogger struct {
	hclog.Logger
	plugin string
}

func (l quietLogger) Info(msg string, args ...any)  { l.Debug(msg, args...) }
func (l quietLogger) Warn(msg string, args ...any)  { l.Debug(msg, args...) }
func (l quietLogger) Error(msg string, args ...any) { l.Debug(msg, args...) }

func (l quietLogger) Named(name string) hclog.Logger {
	named := l.Logger.Named(name)
	if name == filepath.Base(l.plugin) {
		return named
	}
	return quietLogger{named, l.plugin}
}

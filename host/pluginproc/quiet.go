package pluginproc

import (
	"path/filepath"

	"github.com/hashicorp/go-hclog"
)

// A quietLogger is the logger for go-plugin. It logs go-plugin's own messages at level debug, because the Plugin logs the end of a process
// with more detail. go-plugin logs the plugin's own lines to a logger that it names after the plugin; these lines keep their level.
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

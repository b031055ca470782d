package host

import (
	"path/filepath"

	"github.com/framehost/framehost/host/control"
)

// Running describes the running configuration.
func (h *Host) Running() *control.Running {
	h.mu.Lock()
	c := h.config
	h.mu.Unlock()
	r := &control.Running{File: c.File, Set: c.Set, Settings: h.settings(c)}
	if path, err := filepath.Abs(c.File); err == nil && c.File != "" {
		r.File = path
	}
	return r
}

package host

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/framehost/framehost/host/config"
)

// Running is what a running framehost says of its configuration, for `framehost check --running`. It has no secrets: the
// values of plugins' environment variables are hashes.
type Running struct {
	// File is what a reload reads, as an absolute path; "" for the embedded default, which is not read again.
	File string `json:"file"`
	// Set are the flags and variables that a reload lays over the file, as KEY=VALUE.
	Set      []string         `json:"set"`
	Settings *config.Settings `json:"settings"`
	// Status comes from the same control socket.
	Status *Status `json:"-"`
}

// running describes the configuration that runs.
func (h *Host) running() *Running {
	h.mu.Lock()
	c := h.config
	h.mu.Unlock()
	r := &Running{File: c.File, Set: c.Set, Settings: h.settings(c)}
	if path, err := filepath.Abs(c.File); err == nil && c.File != "" {
		r.File = path
	}
	return r
}

// QueryRunning asks the framehost that serves the control socket at path for its configuration and its status.
func QueryRunning(ctx context.Context, path string) (*Running, error) {
	r := &Running{Settings: &config.Settings{}}
	if err := query(ctx, path, http.MethodGet, settingsPath, r); err != nil {
		return nil, err
	}
	status, err := QueryStatus(ctx, path)
	r.Status = status
	return r, err
}

// A Preview is what a reload would do, as `framehost check --running` shows it. Its JSON is stable: fields are added, not
// changed.
type Preview struct {
	PID      int    `json:"pid"`  // of the framehost that runs
	Runs     string `json:"runs"` // the file that it reads; "" for the embedded default
	File     string `json:"file"` // the file that was compared
	Accepted bool   `json:"accepted"`
	// Refused is why a reload would be refused, other than by Restart; "" if it would not.
	Refused string               `json:"refused,omitempty"`
	Restart []config.ValueChange `json:"restart"` // what needs a restart, and so is refused
	Live    []config.ValueChange `json:"live"`    // what applies at once, to all routes
	Routes  []RoutePreview       `json:"routes"`
}

// RoutePreview is what a reload would do with a route.
type RoutePreview struct {
	config.RouteChange
	Sessions int `json:"sessions"` // that are live, and go on with what they opened with
	Members  int `json:"members"`  // those of a hub, likewise
}

// Preview returns what a reload of c would do.
func (r *Running) Preview(c *config.Config) *Preview {
	to := c.Settings()
	p := &Preview{
		PID: r.Status.PID, Runs: r.File, File: c.File, Routes: []RoutePreview{},
		Restart: append([]config.ValueChange{}, r.Settings.RestartChanges(to)...),
		Live:    append([]config.ValueChange{}, r.Settings.LiveChanges(to)...),
	}
	for _, change := range r.Settings.RouteChanges(to) {
		one := RoutePreview{RouteChange: change}
		for i := range r.Status.Routes {
			if s := &r.Status.Routes[i]; s.Name == change.Name {
				one.Sessions = len(s.Sessions)
				if s.Hub != nil {
					one.Members = len(s.Hub.Live)
				}
			}
		}
		p.Routes = append(p.Routes, one)
	}
	switch {
	case r.Status.Draining:
		p.Refused = "it is ending"
	case r.File == "":
		p.Refused = "it runs the embedded default configuration, and has no file to read again; run it with -c FILE"
	}
	p.Accepted = p.Refused == "" && len(p.Restart) == 0
	return p
}

// Changes reports whether a reload would change anything.
func (p *Preview) Changes() bool {
	for i := range p.Routes {
		if p.Routes[i].Change != config.Unchanged {
			return true
		}
	}
	return len(p.Live) > 0
}

package control

import (
	"context"
	"net/http"

	"github.com/framehost/framehost/host/config"
)

// Running describes the configuration of a running framehost, for `framehost check --running`. It has no secrets: the
// values of plugins' environment variables are hashes.
type Running struct {
	// File is the absolute path of the file that a reload reads; "" for the embedded default, which is not read again.
	File string `json:"file"`
	// Set lists as KEY=VALUE the flags and environment variables that override the file in a reload.
	Set      []string         `json:"set"`
	Settings *config.Settings `json:"settings"`
	// Status comes from the same control socket.
	Status *Status `json:"-"`
}

// QueryRunning returns the configuration and the status of the framehost that serves the control socket at path.
func QueryRunning(ctx context.Context, path string) (*Running, error) {
	r := &Running{Settings: &config.Settings{}}
	if err := query(ctx, path, http.MethodGet, settingsPath, r); err != nil {
		return nil, err
	}
	status, err := QueryStatus(ctx, path)
	r.Status = status
	return r, err
}

// A Preview says what a reload would do, as `framehost check --running` shows it. Its JSON is stable: fields are added, not
// changed.
type Preview struct {
	PID      int    `json:"pid"`  // of the running framehost
	Runs     string `json:"runs"` // the file that it reads; "" for the embedded default
	File     string `json:"file"` // the file that was compared with the running configuration
	Accepted bool   `json:"accepted"`
	// Refused is the reason, other than Restart, why a reload would be refused; "": there is none.
	Refused string               `json:"refused,omitempty"`
	Restart []config.ValueChange `json:"restart"` // changes that need a restart; a reload refuses them
	Live    []config.ValueChange `json:"live"`    // changes that apply at once to all routes
	Routes  []RoutePreview       `json:"routes"`
}

// RoutePreview says what a reload would do with a route.
type RoutePreview struct {
	config.RouteChange
	Sessions int `json:"sessions"` // live sessions, which go on with the settings that they opened with
	Members  int `json:"members"`  // live members of a hub, which do so too
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

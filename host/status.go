package host

import (
	"time"

	"github.com/framehost/framehost/host/pluginproc"
	"github.com/framehost/framehost/host/relay"
)

// Status is what a host is doing, as `framehost status` shows it. Its JSON is stable: fields are added, not changed.
type Status struct {
	Version     string         `json:"version"`
	PID         int            `json:"pid"`
	Started     time.Time      `json:"started"`
	Config      string         `json:"config"` // the file; "" for the embedded default
	Draining    bool           `json:"draining"`
	Connections int            `json:"connections"` // accepted and live
	Memory      MemoryStatus   `json:"memory"`
	Plugins     []PluginStatus `json:"plugins"`
	Routes      []RouteStatus  `json:"routes"`
	// Discovery is nil as long as no route has needed it.
	Discovery *DiscoveryStatus `json:"discovery,omitempty"`
}

// MemoryStatus is the budget for buffers, in bytes.
type MemoryStatus struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"` // 0: none
}

// PluginStatus is a plugin and its process.
type PluginStatus struct {
	Name            string    `json:"name"`
	Version         string    `json:"version"`
	Path            string    `json:"path"` // "" for one that is built in
	Up              bool      `json:"up"`
	PID             int       `json:"pid"`                         // 0 while it is down
	Spares          []int     `json:"spares"`                      // processes that take over when that one ends
	Since           time.Time `json:"since"`                       // when it came up, or went down
	DataPlane       string    `json:"data_plane"`                  // grpc or shm
	DataPlaneReason string    `json:"data_plane_reason,omitempty"` // why that one; "": the configuration names it
	Calls           uint64    `json:"calls"`                       // made to the process that is up
	Outstanding     int       `json:"outstanding"`                 // those of them that are not answered yet
	Restarts        int       `json:"restarts"`
	LastError       string    `json:"last_error,omitempty"`
	LastErrorAt     time.Time `json:"last_error_at,omitzero"`
}

func pluginStatus(p *pluginproc.Plugin) PluginStatus {
	s := p.Status()
	status := PluginStatus{
		Name: s.Name, Version: s.Codec.Version, Path: s.Path, Up: s.PID != 0, PID: s.PID, Since: s.Since,
		DataPlane: s.DataPlane, DataPlaneReason: s.DataPlaneReason, Calls: s.Calls, Outstanding: s.Outstanding,
		Restarts: s.Restarts, LastErrorAt: s.LastErrorAt, Spares: append([]int{}, s.Spares...),
	}
	if s.LastError != nil {
		status.LastError = s.LastError.Error()
	}
	return status
}

// RouteStatus is a route with what it has done since it was started.
type RouteStatus struct {
	Name     string           `json:"name"`
	Removed  bool             `json:"removed,omitempty"` // the configuration has it no more, and sessions of it go on
	From     string           `json:"from"`
	To       string           `json:"to"`
	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`
	Closed   map[string]int64 `json:"closed"` // sessions that ended, by reason
	// NotReady is why the route does not relay, where a plugin has not come up yet or what it said is no use.
	NotReady string `json:"not_ready,omitempty"`
	// Totals of all sessions, live ones included.
	ToUpstream   relay.FlowStats `json:"to_upstream"`
	ToDownstream relay.FlowStats `json:"to_downstream"`
	Sessions     []SessionStatus `json:"sessions"`
	Hub          *HubStatus      `json:"hub,omitempty"`   // only of a hub, which has no sessions
	Flows        *FlowsStatus    `json:"flows,omitempty"` // only of a route that answers datagrams
	// Discovery: what the route announces, and what it knows of the services that it dials.
	Announced []AnnouncedStatus `json:"announced,omitempty"`
	Services  []ServiceStatus   `json:"services,omitempty"`
}

// SessionStatus is a live session.
type SessionStatus struct {
	ID              uint64          `json:"id"`
	Downstream      string          `json:"downstream"`
	Upstream        string          `json:"upstream"`
	DownstreamCodec string          `json:"downstream_codec"`
	UpstreamCodec   string          `json:"upstream_codec"`
	Age             time.Duration   `json:"age_ns"`
	ToUpstream      relay.FlowStats `json:"to_upstream"`
	ToDownstream    relay.FlowStats `json:"to_downstream"`
}

package host

import (
	"time"

	"github.com/framehost/framehost/host/pluginproc"
	"github.com/framehost/framehost/host/relay"
)

// Status is the state of a host, as `framehost status` shows it. Its JSON is stable: fields are added, not changed.
type Status struct {
	Version     string         `json:"version"`
	PID         int            `json:"pid"`
	Started     time.Time      `json:"started"`
	Config      string         `json:"config"` // the file; "" for the embedded default
	Draining    bool           `json:"draining"`
	Connections int            `json:"connections"` // accepted ones that are live
	Memory      MemoryStatus   `json:"memory"`
	Plugins     []PluginStatus `json:"plugins"`
	Routes      []RouteStatus  `json:"routes"`
	// Discovery is nil until a route needs it.
	Discovery *DiscoveryStatus `json:"discovery,omitempty"`
}

// MemoryStatus is the memory budget for buffers, in bytes.
type MemoryStatus struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"` // 0: no limit
}

// PluginStatus is a plugin and its process.
type PluginStatus struct {
	Name            string    `json:"name"`
	Version         string    `json:"version"`
	Path            string    `json:"path"` // "" for a built-in plugin
	Up              bool      `json:"up"`
	PID             int       `json:"pid"`                         // 0 while the plugin is down
	Spares          []int     `json:"spares"`                      // PIDs of processes that take over when PID ends
	Since           time.Time `json:"since"`                       // when the plugin last came up or went down
	DataPlane       string    `json:"data_plane"`                  // grpc or shm
	DataPlaneReason string    `json:"data_plane_reason,omitempty"` // why DataPlane was chosen; "": the configuration names it
	Calls           uint64    `json:"calls"`                       // made to the present process
	Outstanding     int       `json:"outstanding"`                 // calls that are not answered yet
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

// RouteStatus is the state of a route, with counts since it was started.
type RouteStatus struct {
	Name     string           `json:"name"`
	Removed  bool             `json:"removed,omitempty"` // a reload removed the route, and some of its sessions go on
	From     string           `json:"from"`
	To       string           `json:"to"`
	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`
	Closed   map[string]int64 `json:"closed"` // ended sessions by reason
	// NotReady is why the route does not relay: a plugin is not up yet, or its codec can't be used. "": the route relays.
	NotReady string `json:"not_ready,omitempty"`
	// ToUpstream and ToDownstream are the totals of all sessions, including live ones.
	ToUpstream   relay.FlowStats `json:"to_upstream"`
	ToDownstream relay.FlowStats `json:"to_downstream"`
	Sessions     []SessionStatus `json:"sessions"`
	Hub          *HubStatus      `json:"hub,omitempty"`   // only for a hub, which has no sessions
	Flows        *FlowsStatus    `json:"flows,omitempty"` // only for a route that answers datagrams
	// Announced are the services that the route announces; Services those that it dials by name and has found.
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

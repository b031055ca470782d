package host

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/pluginproc"
)

// Status returns the present state of the host.
func (h *Host) Status() *control.Status {
	h.mu.Lock()
	routes, retired := h.routes, h.retired
	status := &control.Status{
		Version: h.version, PID: os.Getpid(), Started: h.started, Config: h.config.File, Draining: h.draining,
		Connections: h.shared.Connections.Live(), Memory: control.MemoryStatus{Used: h.shared.Memory.Used(), Limit: h.shared.MemoryLimit},
		Plugins: []control.PluginStatus{}, Routes: []control.RouteStatus{}, Discovery: h.shared.LAN.Load().Status(),
	}
	h.mu.Unlock()
	for _, p := range h.pool.Running() {
		status.Plugins = append(status.Plugins, pluginStatus(p))
	}
	late := h.pool.Late()
	for _, name := range slices.Sorted(maps.Keys(late)) {
		status.Plugins = append(status.Plugins, control.PluginStatus{Name: name, LastError: late[name].Error()})
	}
	for _, r := range routes {
		status.Routes = append(status.Routes, r.Status())
	}
	for _, s := range removed(routes, retired) {
		if len(s.Sessions) > 0 || s.Hub != nil && len(s.Hub.Live) > 0 {
			status.Routes = append(status.Routes, s)
		}
	}
	return status
}

// pluginStatus returns the state of p.
func pluginStatus(p *pluginproc.Plugin) control.PluginStatus {
	s := p.Status()
	status := control.PluginStatus{
		Name: s.Name, Version: s.Codec.Version, Path: s.Path, Up: s.PID != 0, PID: s.PID, Since: s.Since,
		DataPlane: s.DataPlane, DataPlaneReason: s.DataPlaneReason, Calls: s.Calls, Outstanding: s.Outstanding,
		Restarts: s.Restarts, LastErrorAt: s.LastErrorAt, Spares: append([]int{}, s.Spares...),
	}
	if s.LastError != nil {
		status.LastError = s.LastError.Error()
	}
	return status
}

// Violations returns the last violations of the route of that name, or of all routes if name is "", the oldest first. It
// fails with [control.ErrNoRoute].
func (h *Host) Violations(name string) ([]control.ViolationStatus, error) {
	h.mu.Lock()
	routes := slices.Concat(h.routes, h.retired)
	h.mu.Unlock()
	all, seen := []control.ViolationStatus{}, map[string]bool{}
	for _, r := range routes { // routes of one name have the same violations
		if n := r.Config().Name; !seen[n] && (name == "" || n == name) {
			seen[n] = true
			all = append(all, r.Violations()...)
		}
	}
	if name != "" && !seen[name] {
		return nil, h.noRoute(name)
	}
	slices.SortStableFunc(all, func(a, b control.ViolationStatus) int { return a.Time.Compare(b.Time) })
	return all, nil
}

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

// Addr returns the first address at which the route of that name listens; nil if it does not listen.
func (h *Host) Addr(route string) *endpoint.Address {
	all := h.Addrs(route)
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// Addrs returns all addresses at which the route of that name listens, in the order of its endpoints.
func (h *Host) Addrs(route string) []endpoint.Address {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []endpoint.Address
	for _, r := range h.routes {
		if r.Config().Name == route {
			all = append(all, r.Addresses()...)
		}
	}
	return all
}

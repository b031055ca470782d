package host

import (
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/pluginproc"
)

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

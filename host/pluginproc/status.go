package pluginproc

import (
	"time"

	"github.com/framehost/framehost/codecs"
)

// A Status is how a plugin is doing at a moment.
type Status struct {
	Name            string
	Path            string      // of the program; empty: built in
	Codec           codecs.Info // as the process that came up last says
	DataPlane       string      // by which calls to the process that came up last travel: grpc or shm
	DataPlaneReason string      // why by that one; empty: Spec.DataPlane names it
	PID             int         // of the process; 0: none is up
	Spares          []int       // processes that are up and take over when that one ends
	Since           time.Time   // when it came up or, if none is up, when the last one ended
	Restarts        int         // processes that ended without being asked to
	LastError       error       // why the last of those ended, or why no other could be started; nil: never
	LastErrorAt     time.Time   // zero: never
	Outstanding     int         // calls under way in the process
	Calls           uint64      // calls sent to the process
	Codecs          int         // configured
}

// Status tells how the plugin is doing.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Name: p.spec.Name, Path: p.spec.Path, Codec: p.description.Info, Since: p.downSince,
		DataPlane: string(p.dataPlane), DataPlaneReason: p.planeReason,
		Restarts: p.restarts, LastError: p.lastError, LastErrorAt: p.lastErrorAt, Codecs: len(p.codecs),
	}
	if in := p.current; in != nil {
		s.PID, s.Since, s.Outstanding, s.Calls = in.pid(), in.since, int(in.outstanding.Load()), in.sent.Load()
	}
	for _, in := range p.spares {
		s.Spares = append(s.Spares, in.pid())
	}
	return s
}

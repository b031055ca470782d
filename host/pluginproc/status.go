package pluginproc

import (
	"time"

	"github.com/framehost/framehost/codecs"
)

// A Status is the state of a plugin at one moment.
type Status struct {
	Name            string
	Path            string      // of the program; empty: built in
	Codec           codecs.Info // as described by the last current process
	DataPlane       string      // of the last current process: grpc or shm
	DataPlaneReason string      // why that data plane was chosen; empty: Spec.DataPlane names it
	PID             int         // number of the current process, which makes the calls; 0: none is up
	Spares          []int       // numbers of the spare processes, in the order in which they will take over
	Since           time.Time   // when the current process came up or, if none is up, when the last one ended
	Restarts        int         // processes, spares included, that ended although they were still needed
	LastError       error       // why the last of these ended, or why a launch failed; nil: neither has happened
	LastErrorAt     time.Time   // when LastError happened; zero: never
	Outstanding     int         // calls under way in the current process
	Calls           uint64      // calls sent to the current process so far
	Codecs          int         // configured codecs
}

// Status returns the state of the plugin.
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

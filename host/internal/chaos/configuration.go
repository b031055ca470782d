//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A route is a route of the configuration, with the server that it dials.
type route struct {
	name     string
	from, to codec
	address  string // where framehost listens
	server   string // address that framehost dials
	spare    bool   // has no sessions; reloads add and remove it
	calm     bool   // has no attackers, although its plugin is fragile
}

// A codec is a framing as a plugin implements it.
type codec struct {
	*framing
	plugin string
	plane  string
}

var planes = []string{"shm", "grpc"}

// pluginName returns the name of a codec's plugin for a data plane. The built-in plugins are the ones that use shared memory.
func pluginName(f *framing, plane string) string {
	if plane == "shm" {
		return f.plugin
	}
	return f.plugin + "-" + plane
}

// A variation is the part of the configuration that a reload changes. It does not change a byte on the wire.
type variation struct {
	n     int  // number of earlier variations, from which all values follow
	spare bool // whether the spare route exists
}

// drainTime is the longest duration of a drain, in seconds. Sessions in the mood hurried end long before.
const drainTime = 20

// configuration returns the contents of the configuration file for a variation.
func (w *world) configuration(v variation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "limits: {memory: 256MiB}\ncontrol: {socket: %q}\ndata_plane: shm\n", w.socket)
	fmt.Fprintf(&b, "timeouts: {codec: 1s, drain: %ds, idle: %ds}\n", drainTime, 600+v.n%7)
	b.WriteString("plugins:\n")
	for i := range framings {
		name := framings[i].plugin
		program := filepath.Join(w.settings.programs, "framehost-codec-"+name)
		fmt.Fprintf(&b, "  - {name: %s-grpc, path: %q, data_plane: grpc}\n", name, program)
	}
	for _, f := range w.fragile {
		_, plane, _ := strings.Cut(f.name, "-")
		fmt.Fprintf(&b, "  - {name: %s, path: %q, args: [%s], data_plane: %s}\n", f.name, w.self, fragileRole, plane)
	}
	b.WriteString("codecs:\n")
	for i := range framings {
		for _, plane := range planes {
			name := pluginName(&framings[i], plane)
			// A different limit makes a different codec in the same process.
			fmt.Fprintf(&b, "  - {name: c-%s, plugin: %s, options: %s, max_frame: %dB}\n", name, name, framings[i].options, 1<<20+v.n%5)
		}
	}
	for _, f := range w.fragile {
		fmt.Fprintf(&b, "  - {name: c-%s, plugin: %s}\n", f.name, f.name)
	}
	b.WriteString("routes:\n")
	for _, r := range w.routes {
		if r.spare && !v.spare {
			continue
		}
		fmt.Fprintf(&b, "  - name: %s\n    from: {listen: \"tcp://%s\", codec: c-%s}\n    to: {dial: \"tcp://%s\", codec: c-%s}\n",
			r.name, r.address, r.from.plugin, r.server, r.to.plugin)
		fmt.Fprintf(&b, "    timeouts: {frame: %ds}\n", 300+v.n%3)
	}
	for _, f := range w.fragile { // both sides use the fragile plugin: chaos kills and stops the others, and measures that elsewhere
		fmt.Fprintf(&b, "  - name: %s\n    from: {listen: \"tcp://%s\", codec: c-%s}\n    to: {dial: \"tcp://%s\", codec: c-%s}\n",
			f.name, f.address, f.name, f.server, f.name)
	}
	return b.String()
}

//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A route is one of the configuration, with the server behind it.
type route struct {
	name     string
	from, to codec
	address  string // where framehost listens
	server   string // what it dials
	spare    bool   // without sessions: it comes and goes with reloads
	calm     bool   // without attackers, though its plugin is as fragile as another's
}

// A codec is a framing by way of a plugin.
type codec struct {
	*framing
	plugin string
	plane  string
}

var planes = []string{"shm", "grpc"}

// pluginName is the name of a codec's plugin for a data plane. The built-in ones are called by shared memory.
func pluginName(f *framing, plane string) string {
	if plane == "shm" {
		return f.plugin
	}
	return f.plugin + "-" + plane
}

// A variation is what a reload changes. Nothing of it changes a byte on the wire.
type variation struct {
	n     int  // how many came before; everything depends on it
	spare bool // whether the spare route is there
}

// drainTime is how long a drain lasts at most, in seconds. Sessions that hurry have ended long before.
const drainTime = 20

// configuration writes the file of a variation.
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
			// The limit makes another codec of it, in the same process.
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
	for _, f := range w.fragile { // both sides by the same plugin: others are killed and stopped, which is measured elsewhere
		fmt.Fprintf(&b, "  - name: %s\n    from: {listen: \"tcp://%s\", codec: c-%s}\n    to: {dial: \"tcp://%s\", codec: c-%s}\n",
			f.name, f.address, f.name, f.server, f.name)
	}
	return b.String()
}

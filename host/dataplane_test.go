package host

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/framehost/framehost/codecs/codecshm"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/pluginproc"
)

// onPlanes runs test for each data plane that this system supports, with the configuration line that selects it.
func onPlanes(t *testing.T, test func(t *testing.T, plane string)) {
	t.Helper()
	for _, plane := range []pluginproc.DataPlane{pluginproc.GRPC, pluginproc.SHM} {
		t.Run(string(plane), func(t *testing.T) {
			if err := codecshm.Supported(); plane == pluginproc.SHM && err != nil {
				t.Skip(err)
			}
			test(t, fmt.Sprintf("data_plane: %s\n", plane))
		})
	}
}

// withOwnPlugin returns a configuration with two routes to upstream: r uses built-in plugins, and s the plugin own, which has
// entry appended to its configuration entry.
func withOwnPlugin(t *testing.T, upstream, dataPlane, entry string) *config.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const yaml = `
data_plane: %s
plugins: [{name: own, path: %q, args: [serve-plugin, line]%s}]
codecs: [{name: line, plugin: line}, {name: long, plugin: long}, {name: own, plugin: own}]
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[4]s", codec: long}}
  - {name: s, from: {listen: "tcp://127.0.0.1:0", codec: own}, to: {dial: "tcp://%[4]s", codec: own}}
`
	c, err := config.Parse("test.yaml", "yaml", fmt.Appendf(nil, yaml, dataPlane, program, entry, upstream),
		config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// processes returns the PIDs of the plugins by name, after those of earlier configurations have ended.
func processes(t *testing.T, h *Host) map[string]int {
	t.Helper()
	pids := map[string]int{}
	waitFor(t, h, func(s *control.Status) bool {
		clear(pids)
		for _, p := range s.Plugins {
			pids[p.Name] = p.PID
		}
		return pluginNames(s) == "line long own"
	})
	return pids
}

// Plugins whose data plane changes are started again, and so are their routes; other plugins and routes go on.
func TestReloadChangesTheDataPlane(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, "routes: []")
	present := map[string]int{}
	steps := []struct {
		name, all, entry string
		started          []string        // the plugins that are started
		reasoned         map[string]bool // the plugins whose data plane the configuration does not name
	}{
		{"at first", "grpc", ", data_plane: grpc", []string{"line", "long", "own"}, map[string]bool{}},
		{"for all", "auto", ", data_plane: grpc", []string{"line", "long"}, map[string]bool{"line": true, "long": true}},
		{"for one", "auto", "", []string{"own"}, map[string]bool{"line": true, "long": true, "own": true}},
		{"said in other words", "auto", ", data_plane: auto", nil, map[string]bool{"line": true, "long": true, "own": true}},
	}
	for _, step := range steps {
		if err := h.Reload(t.Context(), withOwnPlugin(t, up.Addr().String(), step.all, step.entry)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		before := present
		present = processes(t, h)
		var started []string
		for _, name := range slices.Sorted(maps.Keys(present)) {
			if present[name] != before[name] {
				started = append(started, name)
			}
		}
		if !slices.Equal(started, step.started) {
			t.Errorf("%s: got %v started, want %v", step.name, started, step.started)
		}
		for _, p := range h.Status().Plugins {
			if p.DataPlane == "" || (p.DataPlaneReason != "") != step.reasoned[p.Name] || p.DataPlaneReason == "" && p.DataPlane != "grpc" {
				t.Errorf("%s: plugin %s has data plane %q because of %q", step.name, p.Name, p.DataPlane, p.DataPlaneReason)
			}
		}
		for route, wire := range map[string]string{"r": "\x00\x00\x00\x02hi", "s": "hi\n"} {
			down := dialRoute(t, h, route)
			send(t, down, "hi\n")
			peer := up.accept()
			expect(t, peer, wire)
			down.Close()
			peer.Close()
		}
	}
}

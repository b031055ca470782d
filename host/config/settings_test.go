package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func settingsOf(t *testing.T, yaml string) *Settings {
	t.Helper()
	c, err := Parse("test.yaml", "yaml", []byte(yaml), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Settings()
}

func texts(changes []ValueChange) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.String())
	}
	return strings.Join(all, "; ")
}

// A route that takes over a socket with flows can't change the socket's options, whatever the route's name is.
func TestChangesOfSocketsWithFlows(t *testing.T) {
	const yaml = `
codecs: [{name: line, profile: newline}]
routes:
  - name: %s
    from: {listen: "udp://127.0.0.1:%d", codec: none, udp: {receive_buffer: %s, flows: {max: %d}}}
    to: {dial: "udp://127.0.0.1:9", codec: none}`
	before := settingsOf(t, fmt.Sprintf(yaml, "r", 7001, "4MiB", 10))
	for _, tt := range []struct{ name, yaml, want string }{
		{"nothing of the socket", fmt.Sprintf(yaml, "r", 7001, "4MiB", 20), ""},
		{"another address", fmt.Sprintf(yaml, "r", 7002, "8MiB", 10), ""},
		{"the buffer", fmt.Sprintf(yaml, "r", 7001, "8MiB", 10), "route r, from.udp.receive_buffer: 4MiB -> 8MiB"},
		{"the buffer and the name", fmt.Sprintf(yaml, "s", 7001, "8MiB", 10), "route s, from.udp.receive_buffer: 4MiB -> 8MiB"},
		{"the route is gone", "routes: []", ""},
	} {
		if got := texts(before.RestartChanges(settingsOf(t, tt.yaml))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The environment of a plugin may be secret: no change, nor the settings themselves, shows its values.
func TestSettingsShowNoSecrets(t *testing.T) {
	const yaml = `
plugins: [{name: cobs, path: /bin/cobs, env: {TOKEN: %s}}]
codecs: [{name: c, plugin: cobs}]
routes: [{name: r, from: {listen: "tcp://127.0.0.1:7001", codec: c}, to: {dial: "tcp://127.0.0.1:7002", codec: c}}]`
	before, after := settingsOf(t, fmt.Sprintf(yaml, "hunter2")), settingsOf(t, fmt.Sprintf(yaml, "hunter3"))
	text, err := json.Marshal(before)
	if err != nil || strings.Contains(string(text), "hunter") {
		t.Errorf("got %s (%v), want it without the value", text, err)
	}
	changes := before.RouteChanges(after)
	const want = "plugins.cobs.env.TOKEN: (not shown) -> (not shown)"
	if len(changes) != 1 || changes[0].Change != Changed || texts(changes[0].Values) != want {
		t.Errorf("got %+v, want route r with %s", changes, want)
	}
}

// The values that flags and variables set can be set again, with the same result.
func TestSetAgain(t *testing.T) {
	t.Setenv("FRAMEHOST_TIMEOUTS_IDLE", "3s")
	const yaml = "timeouts: {idle: 1s, drain: 2s}"
	first, err := Parse("a/test.yaml", "yaml", []byte(yaml), LoadOptions{Set: []string{"control.socket=x.sock", "log.level=warn"}, Env: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"timeouts.idle=3s", "log.level=warn", "control.socket=" + first.Control.Socket}
	if !slices.Equal(first.Set, want) {
		t.Errorf("got %q, want %q", first.Set, want)
	}
	again, err := Parse("b/test.yaml", "yaml", []byte(yaml), LoadOptions{Set: first.Set})
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(first.Settings().RestartChanges(again.Settings())); got != "" || again.Timeouts.Idle != first.Timeouts.Idle {
		t.Errorf("got %q and idle %s, want no difference", got, again.Timeouts.Idle)
	}
}

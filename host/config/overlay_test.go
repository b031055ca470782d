package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const overlaid = `
limits: {max_frame: 1kB, max_connections: 1}
log: {level: warn}
routes: []
`

func TestFlagsGoBeforeVariablesAndThoseBeforeTheFile(t *testing.T) {
	t.Setenv("FRAMEHOST_LIMITS_MAX_FRAME", "2kB")
	t.Setenv("FRAMEHOST_LIMITS_MAX_CONNECTIONS", "2")
	t.Setenv("FRAMEHOST_TIMEOUTS_HALF_CLOSE", "7s")
	t.Setenv("FRAMEHOST_DATA_PLANE", "grpc")
	t.Setenv("FRAMEHOST_LOG_LEVEL", "") // an empty variable counts as not set
	c := mustParse(t, overlaid, LoadOptions{Env: true, Set: []string{
		"limits.max_frame=4kB", "limits.max_frame=3kB", "quarantine.dir=/q=1", "log.payload_bytes=12"}})
	if c.Limits.MaxFrame != 3000 || c.Limits.MaxConnections != 2 || c.Timeouts.HalfClose != 7*time.Second ||
		c.DataPlane != DataPlaneGRPC || c.Log.Level != "warn" || c.Quarantine.Dir != "/q=1" || c.Log.PayloadBytes != 12 {
		t.Errorf("got %+v", c)
	}
	if got := c.Where("limits.max_connections").File; got != "FRAMEHOST_LIMITS_MAX_CONNECTIONS" {
		t.Errorf("got the place %s", got)
	}
	c = mustParse(t, overlaid, LoadOptions{})
	if c.Limits.MaxFrame != 1000 || c.Limits.MaxConnections != 1 || c.DataPlane != DataPlaneAuto {
		t.Errorf("without Env: got %+v", c)
	}
}

// A value in the file that is overridden need not be valid, and routes inherit the overriding value.
func TestOverlaidValuesAreTheOnesThatCount(t *testing.T) {
	c := mustParse(t, `
timeouts: {idle: wrong}
codecs: [{name: a, profile: newline}]
routes: [{name: r, from: {listen: 'tcp://:1', codec: a}, to: {dial: 'tcp://a:1', codec: a}}]
`, LoadOptions{Set: []string{"timeouts.idle=3s", "limits.max_frame=5kB"}})
	if c.Routes[0].Timeouts.Idle != 3*time.Second || c.Routes[0].Limits.MaxFrame != 5000 {
		t.Errorf("got %+v", c.Routes[0])
	}
}

func TestBadFlagsAndVariables(t *testing.T) {
	t.Setenv("FRAMEHOST_LIMITS_MAX_FRAME", "10")
	t.Setenv("FRAMEHOST_LOG_FORMAT", "xml")
	t.Setenv("FRAMEHOST_METRICS_LISTEN", ":9100")
	t.Setenv("FRAMEHOST_DATA_PLANE", "shmem")
	_, err := Parse("relay.yaml", "yaml", []byte("limits: {memory: 1}\nlog: 5\n"), LoadOptions{Env: true, Set: []string{
		"timeouts.idle=5", "limits.max_fram=1MiB", "routes=x", "novalue", "control.socket=", "quarantine.max="}})
	want := `relay.yaml:1:18: limits.memory: got "1", want a size with its unit, such as 1B or 1KiB
relay.yaml:2:6: log: got "5", want a mapping with level, format, payload_bytes, wire_bytes
--set limits.max_fram: got an unknown key, want a key of a single value, such as limits.max_frame; lists are set in the file; did you mean limits.max_frame?
--set novalue: got "novalue", want KEY=VALUE, such as limits.max_frame=2MiB
--set quarantine.max: got nothing, want a size, such as 64KiB or 1MiB
--set routes: got an unknown key, want a key of a single value, such as limits.max_frame; lists are set in the file
--set timeouts.idle: got "5", want a duration with its unit, such as 5s
FRAMEHOST_DATA_PLANE: data_plane: got "shmem", want one of auto, grpc, shm
FRAMEHOST_LIMITS_MAX_FRAME: limits.max_frame: got "10", want a size with its unit, such as 10B or 10KiB
FRAMEHOST_METRICS_LISTEN: metrics.listen: metrics is not built yet`
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStrayVariablesAreWarnedOf(t *testing.T) {
	t.Setenv("FRAMEHOST_TIMEOUTS_IDEL", "5s")
	t.Setenv("FRAMEHOST_METRICS_SERVICE_HOST", "10.0.0.1")
	t.Setenv("FRAMEHOST_UNRELATED", "x")
	t.Setenv("FRAMEHOST_ROUTES_0_NAME", "relay")
	t.Setenv("FRAMEHOST_SERVICE_HOST", "10.0.0.1") // as Kubernetes sets it for a service called framehost
	t.Setenv("FRAMEHOST_PORT_7001_TCP_ADDR", "10.0.0.1")
	t.Setenv("FRAMEHOSTS", "x") // does not begin with FRAMEHOST_
	got := map[string]string{}
	for _, w := range mustParse(t, overlaid, LoadOptions{Env: true}).Warnings {
		if w.Key == "" {
			got[w.File] = w.Text
		}
	}
	want := map[string]string{
		"FRAMEHOST_TIMEOUTS_IDEL":        "is not the variable of any key, and has no effect; did you mean FRAMEHOST_TIMEOUTS_IDLE?",
		"FRAMEHOST_METRICS_SERVICE_HOST": "is not the variable of any key, and has no effect",
		"FRAMEHOST_UNRELATED":            "is not the variable of any key, and has no effect",
		"FRAMEHOST_ROUTES_0_NAME":        "is not the variable of any key, and has no effect: routes are set in the file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

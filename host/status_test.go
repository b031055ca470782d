package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// keysOf lists the keys of a JSON value with the keys that enclose them. All elements of a list count as one.
func keysOf(v any, in string, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			keys[in+key] = true
			keysOf(value, in+key+".", keys)
		}
	case []any:
		for _, e := range v {
			keysOf(e, in, keys)
		}
	}
}

// Other programs rely on the keys of the JSON: renaming or removing one breaks them.
func TestStatusJSONIsStable(t *testing.T) {
	const flow = "bytes_discarded bytes_not_delivered bytes_read bytes_skipped bytes_unwritten bytes_waiting bytes_written dropped_tails " +
		"empties frames_in frames_not_delivered frames_out " +
		"payload_bytes unrepresentable violations"
	want := strings.Fields("version pid started config draining connections memory plugins routes memory.used memory.limit")
	for _, key := range strings.Fields("name version path up pid spares since data_plane data_plane_reason calls outstanding restarts last_error last_error_at") {
		want = append(want, "plugins."+key)
	}
	for _, key := range strings.Fields("name from to accepted refused closed closed.fin to_upstream to_downstream sessions") {
		want = append(want, "routes."+key)
	}
	for _, key := range strings.Fields("id downstream upstream downstream_codec upstream_codec age_ns to_upstream to_downstream") {
		want = append(want, "routes.sessions."+key)
	}
	for _, key := range strings.Fields(flow) {
		for _, in := range []string{"routes.", "routes.sessions."} {
			want = append(want, in+"to_upstream."+key, in+"to_downstream."+key)
		}
	}
	status := control.Status{
		Plugins: []control.PluginStatus{{DataPlaneReason: "any", LastError: "any", LastErrorAt: time.Unix(1, 0)}},
		Routes:  []control.RouteStatus{{Closed: map[string]int64{"fin": 1}, Sessions: []control.SessionStatus{{Age: time.Second}}}},
	}
	text, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	keysOf(value, "", keys)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, want) {
		t.Errorf("got keys\n%s\nwant\n%s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// Empty lists are never null.
func TestStatusOfNothing(t *testing.T) {
	h := start(t, "routes: []")
	text, err := json.Marshal(h.Status())
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !strings.Contains(got, `"plugins":[]`) || !strings.Contains(got, `"routes":[]`) {
		t.Errorf("got %s, want empty lists", got)
	}
}

// Add adds each field to the same field, and to no other.
func TestAddFlow(t *testing.T) {
	var one relay.FlowStats
	fill := map[string]int64{}
	text, err := json.Marshal(one)
	if err := errors.Join(err, json.Unmarshal(text, &fill)); err != nil {
		t.Fatal(err)
	}
	for i, key := range slices.Sorted(maps.Keys(fill)) {
		fill[key] = int64(1) << i
	}
	text, err = json.Marshal(fill)
	if err := errors.Join(err, json.Unmarshal(text, &one)); err != nil {
		t.Fatal(err)
	}
	sum := map[string]int64{}
	twice := one
	twice.Add(&one)
	text, err = json.Marshal(twice)
	if err := errors.Join(err, json.Unmarshal(text, &sum)); err != nil {
		t.Fatal(err)
	}
	for key, n := range fill {
		if sum[key] != 2*n {
			t.Errorf("%s: got %d, want %d", key, sum[key], 2*n)
		}
	}
}

// The totals of a route are the sums over its sessions, live and ended.
func TestStatusTotals(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, up.Addr()))
	for i := range 2 {
		down := dialRoute(t, h, "r")
		send(t, down, "hi\n")
		peer := up.accept()
		expect(t, peer, "\x00\x00\x00\x02hi")
		if i == 0 {
			down.Close()
			peer.Close()
		}
	}
	waitFor(t, h, func(s *control.Status) bool {
		r := s.Routes[0]
		return len(r.Sessions) == 1 && r.Closed["fin"] == 1 && r.ToUpstream.FramesIn == 2 && r.ToUpstream.BytesWritten == 12
	})
}

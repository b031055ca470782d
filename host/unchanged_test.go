package host

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// statusTree returns the status as `framehost status --json` shows it.
func statusTree(t *testing.T, h *Host) (tree any) {
	t.Helper()
	text, err := json.Marshal(h.Status())
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// notCounters has the numbers in the status that must stay the same.
var notCounters = map[string]bool{
	"pid": true, "id": true, "port": true, "connections": true, "limit": true, "outstanding": true, "restarts": true,
	"live": true, "accepted": true, "queued_frames": true, "queued_bytes": true, "send_failed": true,
}

// unchanged reports differences between two trees, other than counters that have grown and used memory that has shrunk.
func unchanged(t *testing.T, key string, before, after any) {
	t.Helper()
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if !ok || len(a) != len(b) {
			break
		}
		for k := range b {
			unchanged(t, key+"."+k, b[k], a[k])
		}
		return
	case []any:
		a, ok := after.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range b {
			unchanged(t, key, b[i], a[i])
		}
		return
	case float64:
		a, ok := after.(float64)
		may := a == b || a > b && !notCounters[name]
		if name == "used" {
			may = a <= b
		}
		if ok && may {
			return
		}
	default:
		if reflect.DeepEqual(before, after) {
			return
		}
	}
	t.Errorf("%s: got %v, before it was %v", key, after, before)
}

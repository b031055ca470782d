package host

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

// A reload does what its preview says, and a preview changes nothing.
func TestPreview(t *testing.T) {
	up := listenUpstream(t)
	socket := filepath.Join(t.TempDir(), "c.sock")
	route := func(name, codec string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: %s}}\n",
			name, up.Addr(), codec)
	}
	head := "control: {socket: " + socket + "}\nlimits: {memory: %s}\nlog: {level: %s}\nroutes:\n"
	h := startWith(t, fmt.Sprintf(head, "1GiB", "info")+route("kept", "line")+route("changed", "line")+route("gone", "line"),
		Options{Control: true})
	for _, name := range []string{"kept", "changed", "gone"} {
		send(t, dialRoute(t, h, name), "hi\n")
		expect(t, up.accept(), "hi\n")
	}
	preview := func(yaml string) *control.Preview {
		t.Helper()
		running, err := control.QueryRunning(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		return running.Preview(parse(t, yaml))
	}
	next := fmt.Sprintf(head, "1GiB", "warn") + route("new", "long") + route("changed", "long") + route("kept", "line")
	p := preview(next)
	var got []string
	for _, r := range p.Routes {
		text := fmt.Sprintf("%s %s %d", r.Change, r.Name, r.Sessions)
		for _, v := range r.Values {
			if v.Key == "to.codec" {
				text += " " + v.String()
			}
		}
		got = append(got, text)
	}
	const want = "added new 0, changed changed 1 to.codec: line -> long, unchanged kept 1, removed gone 1"
	if strings.Join(got, ", ") != want || !p.Accepted || !p.Changes() || len(p.Restart) > 0 {
		t.Errorf("got %+v: %s, want %s, accepted", p, strings.Join(got, ", "), want)
	}
	if len(p.Live) != 1 || p.Live[0].String() != "log.level: info -> warn" {
		t.Errorf("at once: got %v", p.Live)
	}
	if s := h.Status(); len(s.Routes) != 3 || pluginNames(s) != "line" {
		t.Errorf("got %+v, want what ran before", s)
	}

	reload(t, h, next)
	if p := preview(next); !p.Accepted || p.Changes() {
		t.Errorf("after the reload: got %+v, want no change", p)
	}
	other := strings.Replace(next, "1GiB", "2GiB", 1)
	p = preview(other)
	if p.Accepted || len(p.Restart) != 1 || p.Restart[0].String() != "limits.memory: 1GiB -> 2GiB" {
		t.Errorf("got %+v, want that limits.memory needs a restart", p)
	}
	if err := h.Reload(t.Context(), parse(t, other)); err == nil || !strings.Contains(err.Error(), "limits.memory: 1GiB -> 2GiB") {
		t.Errorf("got %v, want the same from a reload", err)
	}
}

// A preview shows a route that is down because of its address as one that a reload would add.
func TestPreviewOfARouteThatIsDown(t *testing.T) {
	up := listenUpstream(t)
	yaml := fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: line}}`, up.Addr())
	h := start(t, yaml)
	h.mu.Lock()
	routes := h.routes
	h.routes = nil
	h.mu.Unlock()
	changes := h.settings(h.config).RouteChanges(parse(t, yaml).Settings())
	h.mu.Lock()
	h.routes = routes
	h.mu.Unlock()
	if len(changes) != 1 || changes[0].Change != config.Added {
		t.Errorf("got %v, want that it is added", changes)
	}
}

// CheckReload accepts an address that the running framehost uses, and refuses one that another process uses.
func TestCheckReloadOfAddresses(t *testing.T) {
	up, other := listenUpstream(t), listenUpstream(t)
	route := func(name, address string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://%s\", codec: line}, to: {dial: \"tcp://%s\", codec: line}}\n",
			name, address, up.Addr())
	}
	h := start(t, "routes:\n"+route("r", "127.0.0.1:0"))
	address := h.Addr("r").Address
	reload(t, h, "routes:\n"+route("r", "127.0.0.1:0")+route("own", "127.0.0.1:0"))
	running := h.Running()
	running.Status = h.Status()
	running.Settings.Routes[0].Values["from.listen"] = "tcp://" + address // as if the file had named it
	c := parse(t, "routes:\n"+route("r", address))
	if err := CheckReload(t.Context(), c, running, nil); err != nil || len(c.Warnings) > 0 {
		t.Errorf("got %v and warnings %v, want none", err, c.Warnings)
	}
	c = parse(t, "routes:\n"+route("r", address)+route("s", other.Addr().String()))
	const want = "routes[1].from.listen: in use by another process"
	if err := CheckReload(t.Context(), c, running, nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want that an address is in use", err)
	}
	if err := h.Reload(t.Context(), c); err == nil || !strings.Contains(err.Error(), "route s") {
		t.Errorf("got %v, want the same from a reload", err)
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
)

// reload reloads another configuration, and expects success.
func reload(t *testing.T, h *Host, yaml string) {
	t.Helper()
	if err := h.Reload(t.Context(), parse(t, yaml)); err != nil {
		t.Fatal(err)
	}
}

// pluginNames returns the names of the running plugins.
func pluginNames(s *control.Status) string {
	var names []string
	for _, p := range s.Plugins {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// A changed route keeps its socket and its sessions: the sessions keep their settings, and only new ones get the new values.
func TestReloadChangesARoute(t *testing.T) {
	up := listenUpstream(t)
	route := fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: CODEC}}`, up.Addr())
	h := start(t, strings.ReplaceAll(route, "CODEC", "long"))
	address := h.Addr("r").Address
	before := dialRoute(t, h, "r")
	send(t, before, "one\n")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x03one")

	reload(t, h, strings.ReplaceAll(route, "CODEC", "line"))
	if got := h.Addr("r").Address; got != address {
		t.Errorf("the route listens on %s, before on %s", got, address)
	}
	after := dialRoute(t, h, "r")
	send(t, after, "two\n")
	expect(t, up.accept(), "two\n")
	send(t, before, "three\n")
	expect(t, peer, "\x00\x00\x00\x05three")
	if s := h.Status(); len(s.Routes) != 1 || len(s.Routes[0].Sessions) != 2 || s.Routes[0].Accepted != 2 || pluginNames(s) != "line long" {
		t.Errorf("got %+v, want one route with both sessions, and both plugins", s.Routes)
	}
	before.Close()
	peer.Close()
	waitFor(t, h, func(s *control.Status) bool { return pluginNames(s) == "line" }) // no session uses long any more
}

// A change of a value that all routes inherit does not affect live sessions, and a removed route only stops listening.
func TestReloadEndsNoSession(t *testing.T) {
	up := listenUpstream(t)
	route := func(name string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: long}}\n", name, up.Addr())
	}
	var book logBook
	h, err := Start(t.Context(), parse(t, "timeouts: {idle: 60s}\nroutes:\n"+route("a")+route("b")), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	var downs, ups []*net.TCPConn
	for _, name := range []string{"a", "b"} {
		down := dialRoute(t, h, name)
		send(t, down, "hi\n")
		peer := up.accept()
		expect(t, peer, "\x00\x00\x00\x02hi")
		downs, ups = append(downs, down), append(ups, peer)
	}
	gone := h.Addr("b").Address
	reload(t, h, "timeouts: {idle: 61s}\nroutes:\n"+route("a")+route("c"))
	if c, err := net.Dial("tcp", gone); err == nil {
		c.Close()
		t.Errorf("the removed route still listens")
	}
	for i := range downs {
		send(t, downs[i], "ho\n")
		expect(t, ups[i], "\x00\x00\x00\x02ho")
		send(t, ups[i], "\x00\x00\x00\x02ha")
		expect(t, downs[i], "ha\n")
	}
	s := h.Status()
	if len(s.Routes) != 3 || s.Routes[2].Name != "b" || !s.Routes[2].Removed || len(s.Routes[2].Sessions) != 1 {
		t.Errorf("got routes %+v, want a, c, and b as removed with a session", s.Routes)
	}
	// A drain treats the session of a removed route like any other.
	done := make(chan error)
	go func() { done <- h.Shutdown(context.Background()) }()
	for i := range downs {
		expectEnd(t, ups[i], io.EOF)
		expectEnd(t, downs[i], io.EOF)
		ups[i].Close()
		downs[i].Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for message, want := range map[string]string{"route changed: its sessions go on as they began": "a",
		"route removed: it does not listen any more, and its sessions go on": "b", "route added": "c"} {
		if lines := book.find(t, message); len(lines) != 1 || lines[0]["route"] != want {
			t.Errorf("%s: got lines %v, want one for route %s", message, lines, want)
		}
	}
	if lines := book.find(t, "route changed: its sessions go on as they began"); len(lines) != 1 || lines[0]["changes"] != "timeouts.idle: 1m0s -> 1m1s" {
		t.Errorf("got lines %v, want what changed", lines)
	}
	if lines := book.find(t, "stopped"); len(lines) != 1 || number(lines[0], "frames_out") != 6 || lines[0]["ended"] != "2 drained" {
		t.Errorf("got lines %v, want a last one with all frames, also of the route that was removed", lines)
	}
}

// The connection limit of a route also counts connections from before a reload.
func TestReloadCountsConnectionsTogether(t *testing.T) {
	up := listenUpstream(t)
	const yaml = `
routes:
  - {name: r, timeouts: {idle: %s}, limits: {max_connections: 1}, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`
	h := start(t, fmt.Sprintf(yaml, "1h", up.Addr()))
	first := dialRoute(t, h, "r")
	send(t, first, "one\n")
	expect(t, up.accept(), "\x00\x00\x00\x03one")
	reload(t, h, fmt.Sprintf(yaml, "2h", up.Addr()))
	expectReset(t, h, "r")
}

// A pair of dialed connections goes on; the next one uses the new values.
func TestReloadKeepsAPair(t *testing.T) {
	from, to := listenUpstream(t), listenUpstream(t)
	const yaml = `
routes:
  - {name: r, from: {dial: "tcp://%s", codec: line}, to: {dial: "tcp://%s", codec: %s}}`
	h := start(t, fmt.Sprintf(yaml, from.Addr(), to.Addr(), "long"))
	a, b := from.accept(), to.accept()
	send(t, a, "one\n")
	expect(t, b, "\x00\x00\x00\x03one")
	reload(t, h, fmt.Sprintf(yaml, from.Addr(), to.Addr(), "line"))
	reload(t, h, fmt.Sprintf(yaml, from.Addr(), to.Addr(), "short"))
	send(t, a, "two\n")
	expect(t, b, "\x00\x00\x00\x03two")
	a.Close()
	b.Close()
	a, b = from.accept(), to.accept()
	send(t, a, "three\n")
	expect(t, b, "three\n")
	if s := h.Status(); len(s.Routes) != 1 || len(s.Routes[0].Sessions) != 1 || s.Routes[0].Closed["fin"] != 1 {
		t.Errorf("got %+v, want one session, after one that ended", s.Routes)
	}
}

// If the new route can't listen after the old one has given up the address, the error says so, other routes go on, and a later
// reload starts the route.
func TestReloadLosesTheAddress(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skip("this system has one loopback address: ", err)
	} else {
		l.Close()
	}
	up := listenUpstream(t)
	other, port := listenElsewhere(t)
	const kept = `
routes:
  - {name: kept, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://UP", codec: line}}
`
	const lost = `  - {name: lost, from: {listen: "tcp://127.0.0.HOST:PORT", codec: CODEC}, to: {dial: "tcp://UP", codec: line}}`
	with := func(host, codec string) string {
		return strings.NewReplacer("UP", up.Addr().String(), "HOST", host, "PORT", port, "CODEC", codec).Replace(kept + lost)
	}
	h := start(t, with("2", "line"))
	// The new address has the same port, and another process listens there.
	err := h.Reload(t.Context(), parse(t, with("1", "long")))
	if err == nil || !strings.Contains(err.Error(), "the route is down: route lost") {
		t.Fatalf("got %v, want that route lost is down", err)
	}
	if s := h.Status(); len(s.Routes) != 1 || s.Routes[0].Name != "kept" {
		t.Errorf("got routes %+v, want kept alone", s.Routes)
	}
	down := dialRoute(t, h, "kept")
	send(t, down, "hi\n")
	expect(t, up.accept(), "hi\n")

	other.Close()
	reload(t, h, with("1", "long"))
	again := dialRoute(t, h, "lost")
	send(t, again, "\x00\x00\x00\x02ho")
	peer := up.accept()
	expect(t, peer, "ho\n")
	reload(t, h, strings.NewReplacer("UP", up.Addr().String()).Replace(kept))
	again.Close()
	peer.Close()
	waitFor(t, h, func(s *control.Status) bool { return pluginNames(s) == "line" }) // nothing of the failed route is left
}

// A plugin ends when the last session that uses it ends, and not before.
func TestReloadRemovesAPlugin(t *testing.T) {
	up := listenUpstream(t)
	const route = `
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: %[1]s}, to: {dial: "tcp://%[2]s", codec: %[1]s}}`
	h := start(t, fmt.Sprintf(route, "long", up.Addr()))
	down := dialRoute(t, h, "r")
	peer := up.accept()
	// The session is in the middle of a frame, and its receiver reads no further, so it can't end yet.
	send(t, down, "\x00\x00\x00\x02hi\x00\x00")
	expect(t, peer, "\x00\x00\x00\x02hi")

	reload(t, h, fmt.Sprintf(route, "line", up.Addr()))
	if got := pluginNames(h.Status()); got != "line long" {
		t.Errorf("while the session drains: got plugins %q, want both", got)
	}
	down.Close()
	peer.Close()
	waitFor(t, h, func(s *control.Status) bool { return pluginNames(s) == "line" })
}

// A session that goes on keeps its own plugins running, and not those that only other routes used.
func TestReloadKeepsNoPluginOfOthers(t *testing.T) {
	up := listenUpstream(t)
	route := func(name, codec string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://127.0.0.1:0\", codec: %s}, to: {dial: \"tcp://%s\", codec: %[2]s}}\n",
			name, codec, up.Addr())
	}
	h := start(t, "routes:\n"+route("kept", "line")+route("gone", "long"))
	down := dialRoute(t, h, "kept")
	peer := up.accept()
	pid := h.Status().Plugins[0].PID
	for _, line := range []string{"one\n", "two\n"} {
		send(t, down, line)
		expect(t, peer, line)
		reload(t, h, "routes:\n"+route("kept", "line"))
		waitFor(t, h, func(s *control.Status) bool { return pluginNames(s) == "line" })
	}
	again := dialRoute(t, h, "kept")
	send(t, again, "three\n")
	expect(t, up.accept(), "three\n")
	if got := h.Status().Plugins[0].PID; got != pid {
		t.Errorf("the plugin of the route that goes on has process %d, want %d as before", got, pid)
	}
}

func TestReloadLimits(t *testing.T) {
	up := listenUpstream(t)
	const yaml = `
limits: {max_connections: %d}
routes:
  - {name: r, limits: {max_connections: 100}, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`
	h := start(t, fmt.Sprintf(yaml, 2, up.Addr()))
	first := dialRoute(t, h, "r")
	send(t, first, "one\n")
	peer := up.accept()
	expect(t, peer, "\x00\x00\x00\x03one")

	reload(t, h, fmt.Sprintf(yaml, 1, up.Addr()))
	expectReset(t, h, "r")
	send(t, first, "two\n")
	expect(t, peer, "\x00\x00\x00\x03two") // the connection stays

	reload(t, h, fmt.Sprintf(yaml, 2, up.Addr()))
	second := dialRoute(t, h, "r")
	send(t, second, "three\n")
	expect(t, up.accept(), "\x00\x00\x00\x05three")
}

func TestReloadLogLevel(t *testing.T) {
	var book logBook
	up := listenUpstream(t)
	const yaml = `
log: {level: %s}
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`
	h, err := Start(t.Context(), parse(t, fmt.Sprintf(yaml, "info", up.Addr())), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	session := func() {
		down := dialRoute(t, h, "r")
		send(t, down, "hi\n")
		peer := up.accept()
		expect(t, peer, "\x00\x00\x00\x02hi")
		down.Close()
		peer.Close()
	}
	for _, level := range []string{"info", "debug", "error"} {
		if err := h.Reload(t.Context(), parse(t, fmt.Sprintf(yaml, level, up.Addr()))); err != nil {
			t.Fatal(err)
		}
		session()
	}
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if got := len(book.find(t, "session begins")); got != 1 {
		t.Errorf("got %d sessions that begin in the log, want the one at level debug", got)
	}
	if got := len(book.find(t, "route started")); got != 1 {
		t.Errorf("got %d starts of the route, want one", got)
	}
}

// A failed reload reports what is wrong and changes nothing.
func TestReloadRefused(t *testing.T) {
	up := listenUpstream(t)
	const good = `
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://UP", codec: long}}
`
	tests := []struct {
		name, yaml, want string
	}{
		{"memory", "limits: {memory: 2GiB}" + good, "limits.memory"},
		{"several", "limits: {memory: 2GiB}\nlog: {format: json, payload_bytes: 1, wire_bytes: 1}\ncontrol: {socket: /tmp/other}" + good,
			"control.socket: (none) -> /tmp/other; limits.memory: 1GiB -> 2GiB; log.format: text -> json; log.payload_bytes: 0B -> 1B; log.wire_bytes: 32B -> 1B"},
		{"frames beyond the memory", strings.Replace(good, "codec: long}", "codec: long}, limits: {max_frame: 1GiB}", 1), "bytes of memory"},
		{"a place where somebody listens", good + `  - {name: s, from: {listen: "tcp://UP", codec: line}, to: {dial: "tcp://UP", codec: long}}`, "route s"},
	}
	h := start(t, strings.ReplaceAll(good, "UP", up.Addr().String()))
	down := dialRoute(t, h, "r")
	peer := up.accept()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := h.Reload(t.Context(), parse(t, strings.ReplaceAll(test.yaml, "UP", up.Addr().String())))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %s", err, test.want)
			}
			send(t, down, "hi\n")
			expect(t, peer, "\x00\x00\x00\x02hi")
			if s := h.Status(); len(s.Routes) != 1 || pluginNames(s) != "line long" {
				t.Errorf("got %d routes and plugins %q, want those of before", len(s.Routes), pluginNames(s))
			}
		})
	}
}

// A host that is ending refuses a reload, and ends only once.
func TestShutdownTwice(t *testing.T) {
	up := listenUpstream(t)
	yaml := fmt.Sprintf(`
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, up.Addr())
	h := start(t, yaml)
	for range 2 {
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := h.Reload(t.Context(), parse(t, yaml)); err == nil || !strings.Contains(err.Error(), "ending") {
		t.Errorf("got %v, want that the host is ending", err)
	}
}

// A session that can't end in good order within the timeouts.drain of its route is cut.
func TestDrainTimesOut(t *testing.T) {
	var book logBook
	up := listenUpstream(t)
	h, err := Start(t.Context(), parse(t, fmt.Sprintf(`
routes:
  - name: r
    timeouts: {drain: 50ms}
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {dial: "tcp://%s", codec: long}`, up.Addr())), Options{Logger: book.logger(hclog.Info)})
	if err != nil {
		t.Fatal(err)
	}
	down := dialRoute(t, h, "r")
	peer := up.accept()
	_ = peer.SetReadBuffer(1 << 10)
	flooded := make(chan error)
	go func() { // blocks when all buffers are full, until the session is cut
		frame := append(make([]byte, 1<<16), '\n')
		for {
			if _, err := down.Write(frame); err != nil {
				flooded <- err
				return
			}
		}
	}()
	stuck := int64(-1)
	waitFor(t, h, func(s *control.Status) bool { // the receiver accepts nothing more
		last := stuck
		stuck = s.Routes[0].ToUpstream.BytesWritten
		return stuck > 0 && stuck == last
	})
	if err := h.Shutdown(context.Background()); !errors.Is(err, control.ErrCut) {
		t.Errorf("got %v, want %v", err, control.ErrCut)
	}
	if err := <-flooded; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the sender: got %v, want a reset", err)
	}
	if lines := book.find(t, "timeouts.drain has passed: sessions that are left are cut"); len(lines) != 1 {
		t.Errorf("got lines %v, want one that says why", lines)
	}
	lines := book.find(t, "session ended")
	if len(lines) != 1 || lines[0]["reason"] != "drain_timeout" || lines[0]["@level"] != "warn" ||
		!(number(lines[0], "bytes_not_delivered_to_upstream") > 0) {
		t.Errorf("got lines %v, want one session with drain_timeout and bytes that were not delivered, at WARN", lines)
	}
	lines = book.find(t, "stopped")
	if len(lines) != 1 || lines[0]["ended"] != "1 drain_timeout" || !(number(lines[0], "bytes_not_delivered") > 0) {
		t.Errorf("got lines %v, want a last one with what was not delivered", lines)
	}
}

// number returns the number in a field of a log line; 0 if there is none.
func number(line map[string]any, key string) float64 {
	n, _ := line[key].(float64)
	return n
}

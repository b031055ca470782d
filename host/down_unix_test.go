//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

// downConfig returns a configuration of one route, r, whose plugin late waits at the gate. options are those of codec late.
func downConfig(t *testing.T, g gate, options, from, to string) *config.Config {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("test.yaml", "yaml", fmt.Appendf(nil, `timeouts: {start: 2s}
plugins: [{name: late, path: %q, args: [late], env: {%s: %q}}]
codecs:
  - {name: late, plugin: late, options: %s}
  - {name: line, plugin: line}
  - {name: long, plugin: long}
routes: [{name: r, from: %s, to: %s}]
`, program, gateVariable, string(g), options, from, to), config.LoadOptions{Builtin: []string{"line", "long"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shutdown cuts all sessions of h, and fails the test if Shutdown does not end.
func shutdown(t *testing.T, h *Host) {
	t.Helper()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(now) }()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, control.ErrCut) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Shutdown does not end")
	}
}

// A route whose plugin came up late and refused the options is down. A reload with other options opens it again.
func TestReloadOfARouteThatIsDown(t *testing.T) {
	for _, kind := range []struct{ name, from, to string }{
		{"paired", `{listen: "tcp://127.0.0.1:0", codec: late}`, `{dial: "tcp://%s", codec: long}`},
		{"hub", `{listen: "tcp://127.0.0.1:0", codec: late, direction: receive}`, `[{dial: "tcp://%s", codec: long}]`},
		{"flows", `{listen: "udp://127.0.0.1:0", codec: late, udp: {flows: {}}}`, `{dial: "tcp://%s", codec: long}`},
	} {
		t.Run(kind.name, func(t *testing.T) {
			var book logBook
			g, up := newGate(t), listenUpstream(t)
			to := fmt.Sprintf(kind.to, up.Addr())
			h, err := Start(t.Context(), downConfig(t, g, "{odd: 1}", kind.from, to), Options{Logger: book.logger(hclog.Info)})
			if err != nil {
				t.Fatal(err)
			}
			defer shutdown(t, h)
			g.open(t)
			waitFor(t, h, func(*control.Status) bool { return len(book.find(t, "the route is down")) > 0 })
			if err := h.Reload(t.Context(), downConfig(t, g, "{}", kind.from, to)); err != nil {
				t.Fatal(err)
			}
			down, err := net.Dial(h.Addr("r").Network, h.Addr("r").Address)
			if err != nil {
				t.Fatal(err)
			}
			defer down.Close()
			relaysAt(t, up, down)
		})
	}
}

// A reload of a hub that still waits for the plugin of one endpoint, and passes on a dialed endpoint that has not been started.
func TestReloadOfAHubThatWaits(t *testing.T) {
	g, up := newGate(t), listenUpstream(t)
	to := fmt.Sprintf(`[{dial: "tcp://%s", codec: long}]`, up.Addr())
	h, err := Start(t.Context(), downConfig(t, g, "{}", `{listen: "tcp://127.0.0.1:0", codec: late, direction: receive}`, to), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown(t, h)
	from := `{listen: "tcp://127.0.0.1:0", codec: long, direction: receive}` // its plugin is up
	if err := h.Reload(t.Context(), downConfig(t, g, "{}", from, to)); err != nil {
		t.Fatal(err)
	}
	down, err := net.Dial("tcp", h.Addr("r").Address)
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	send(t, down, long("hello"))
	expect(t, up.accept(), long("hello"))
}

// Frames of a hub that a reload has removed count in the totals of the host.
func TestTotalsOfARemovedHub(t *testing.T) {
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:0", codec: line}
`)
	from, to := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	send(t, from, "a\nb\n")
	expect(t, to, "a\nb\n")
	reload(t, h, "routes: []")
	for _, c := range []*net.TCPConn{from, to} {
		_ = c.SetLinger(0) // resets: a peer that only ends its own direction stays a member
		c.Close()
	}
	h.retiring.Wait()
	if got := h.totals(); got.all.FramesIn != 2 || got.all.FramesOut != 2 {
		t.Errorf("got %d frames in and %d out, want 2 and 2", got.all.FramesIn, got.all.FramesOut)
	}
}

// A hub that can't open a datagram socket releases the memory for it.
func TestHubThatCannotListenHoldsNoMemory(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h := start(t, "routes: []")
	yaml := fmt.Sprintf(`
routes: [{name: hub, from: {listen: "udp://%s", codec: line}, to: [{listen: "tcp://127.0.0.1:0", codec: line}]}]
`, taken.LocalAddr())
	if err := h.Reload(t.Context(), parse(t, yaml)); err == nil {
		t.Fatal("the address is taken, and the reload was accepted")
	}
	if used := h.Status().Memory.Used; used != 0 {
		t.Errorf("%d bytes are charged", used)
	}
}

// A reload that is given up when it was about to change the routes leaves discovery closed, so its settings may still change.
func TestReloadGivenUpClosesDiscovery(t *testing.T) {
	h := start(t, "routes: []")
	yaml := `
discovery: {port: %d, interfaces: [lo]}
routes: [{name: r, from: {listen: "tcp://127.0.0.1:0", codec: line, announce: {service: s}}, to: {dial: "tcp://127.0.0.1:1", codec: line}}]
`
	ctx, cancel := context.WithCancel(t.Context())
	h.changing.Lock()
	ended := make(chan error, 1)
	go func() { ended <- h.Reload(ctx, parse(t, fmt.Sprintf(yaml, freeUDPPort(t)))) }()
	waitFor(t, h, func(s *control.Status) bool { return s.Discovery != nil })
	cancel()
	h.changing.Unlock()
	if err := <-ended; err == nil {
		t.Fatal("the reload was not given up")
	}
	reload(t, h, fmt.Sprintf(yaml, freeUDPPort(t)))
}

// A removed route whose sessions go on still shows its violations.
func TestViolationsOfARemovedRoute(t *testing.T) {
	up := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes: [{name: r, on_violation: skip, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: line}}]
`, up.Addr()))
	down := dialRoute(t, h, "r")
	send(t, down, "!\nok\n")
	expect(t, up.accept(), "ok\n")
	reload(t, h, "routes: []")
	if all, err := h.Violations("r"); err != nil || len(all) != 1 {
		t.Errorf("got %v, %v; want the one violation", all, err)
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/discovery"
)

// lanHead returns the part of a configuration that sets discovery to loopback. more is appended to its settings.
func lanHead(port uint16, more string) string {
	return fmt.Sprintf("discovery: {port: %d, interfaces: [lo]%s}\n", port, more)
}

// freeLAN returns a UDP port that no socket has at present.
func freeLAN(t *testing.T) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// announcing returns a route that announces scales and relays to up.
func announcing(name string, up upstream) string {
	return fmt.Sprintf(`  - name: %s
    from: {listen: "tcp://127.0.0.1:0", codec: long, announce: {service: scales, interval: 200ms, ttl: 1s, labels: {hall: "3"}}}
    to:   {dial: "tcp://%s", codec: line}
`, name, up.Addr())
}

// looking is a route that dials the service scales.
const looking = `  - name: looks
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to:   {dial: "discover://scales", codec: long}
`

// knows returns a condition: whether the last route of the host knows n services.
func knows(n int) func(*control.Status) bool {
	return func(s *control.Status) bool { return len(s.Routes[len(s.Routes)-1].Services) == n }
}

// stranger starts an announcer of scales outside any host. goodbye ends the announcer with a goodbye, vanish without one, as
// when a machine loses its power.
func stranger(t *testing.T, lan uint16, at net.Addr) (goodbye, vanish func()) {
	t.Helper()
	socket, err := discovery.ListenUDP(t.Context(), discovery.UDPOptions{Port: lan, Interfaces: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	station, err := discovery.NewStation(socket, discovery.StationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := discovery.NewAnnouncer(station, discovery.AnnouncerOptions{
		Service:  discovery.Service{Name: "scales", Port: uint16(at.(*net.TCPAddr).Port)},
		Interval: 100 * time.Millisecond, TTL: 300 * time.Millisecond,
		Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	running.Go(func() { _ = station.Run(ctx) })
	goodbye = func() { cancel(); running.Wait() }
	vanish = func() { _ = socket.Close(); goodbye() }
	t.Cleanup(goodbye)
	return goodbye, vanish
}

func TestAnnouncedIsFoundAndDialled(t *testing.T) {
	up, lan := listenUpstream(t), freeLAN(t)
	a := start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))
	b := start(t, lanHead(lan, "")+"routes:\n"+looking)
	down := dialRoute(t, b, "looks") // the route waits for an answer of discovery
	send(t, down, "12.5 kg\n")
	peer := up.accept()
	expect(t, peer, "12.5 kg\n")
	send(t, peer, "ok\n")
	expect(t, down, "ok\n")

	announced, known := a.Status().Routes[0].Announced, b.Status().Routes[0].Services
	if len(announced) != 1 || len(known) != 1 {
		t.Fatalf("got %v announced and %v known, want one each", announced, known)
	}
	s := known[0]
	if s.Service != "scales" || s.Network != "tcp" || s.Addresses[0] != a.Addr("a").Address || s.Codec != "long" ||
		s.Labels["hall"] != "3" || s.Interface != "lo" || s.Signed || s.ID != announced[0].ID {
		t.Errorf("got %+v, want what %+v announces", s, announced[0])
	}
	if d := b.Status().Discovery; d == nil || d.Port != int(lan) || d.Received == 0 {
		t.Errorf("got %+v", d)
	}
	if a.Status().Routes[0].Services != nil || b.Status().Routes[0].Announced != nil {
		t.Error("each host does only one of it")
	}
}

func TestGoodbye(t *testing.T) {
	up, lan := listenUpstream(t), freeLAN(t)
	const other = "  - {name: other, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://127.0.0.1:1\", codec: line}}\n"
	looks := start(t, lanHead(lan, "")+"routes:\n"+looking)
	a := start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))
	b := start(t, lanHead(lan, "")+"routes:\n"+announcing("b", up))
	waitFor(t, looks, knows(2))

	// A reload removes a route, and then a host ends.
	if err := a.Reload(t.Context(), parse(t, lanHead(lan, "")+"routes:\n"+other)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, looks, knows(1))
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, looks, knows(0))
	// A reload adds a route.
	if err := a.Reload(t.Context(), parse(t, lanHead(lan, "")+"routes:\n"+other+announcing("late", up))); err != nil {
		t.Fatal(err)
	}
	waitFor(t, looks, knows(1))
}

func TestDialsSpreadOverAnswers(t *testing.T) {
	up1, up2, lan := listenUpstream(t), listenUpstream(t), freeLAN(t)
	start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up1))
	start(t, lanHead(lan, "")+"routes:\n"+announcing("b", up2))
	looks := start(t, lanHead(lan, "")+"routes:\n"+looking)
	waitFor(t, looks, knows(2))
	for i := range 6 {
		down := dialRoute(t, looks, "looks")
		send(t, down, fmt.Sprintf("%d\n", i))
	}
	for _, up := range []upstream{up1, up2} {
		for range 3 {
			up.accept()
		}
	}
}

func TestTargetThatFailsIsPassedOver(t *testing.T) {
	up, dead, lan := listenUpstream(t), listenUpstream(t), freeLAN(t)
	dead.Close()
	goodbye, _ := stranger(t, lan, dead.Addr())
	start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))
	looks := start(t, lanHead(lan, "")+"routes:\n"+looking)
	waitFor(t, looks, knows(2))
	for range 4 {
		down := dialRoute(t, looks, "looks")
		send(t, down, "hi\n")
		expect(t, up.accept(), "hi\n")
	}
	goodbye()
	waitFor(t, looks, knows(1))
}

func TestVanished(t *testing.T) {
	up, lan := listenUpstream(t), freeLAN(t)
	_, vanish := stranger(t, lan, up.Addr())
	looks := start(t, lanHead(lan, "")+"timeouts: {connect: 200ms}\nroutes:\n"+looking)
	waitFor(t, looks, knows(1))
	vanish()
	waitFor(t, looks, knows(0))
	expectReset(t, looks, "looks")
	waitFor(t, looks, func(s *control.Status) bool { return s.Routes[0].Closed["connect_failed"] == 1 })
}

// A route that announces what it dials does not relay to itself.
func TestOwnAnnouncementIsIgnored(t *testing.T) {
	up, lan := listenUpstream(t), freeLAN(t)
	h := start(t, lanHead(lan, "")+`timeouts: {connect: 300ms}
routes:
  - name: mirror
    from: {listen: "tcp://127.0.0.1:0", codec: line, announce: {service: scales, interval: 200ms, ttl: 1s}}
    to:   {dial: "discover://scales", codec: long}`)
	expectReset(t, h, "mirror")
	if known := h.Status().Routes[0].Services; known != nil {
		t.Errorf("got %v, want that it does not know itself", known)
	}
	start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))
	waitFor(t, h, knows(1))
	down := dialRoute(t, h, "mirror")
	send(t, down, "hi\n")
	expect(t, up.accept(), "hi\n")
}

// A route that dials both sides dials again, at that time's announcer of the service.
func TestDialledPairFollows(t *testing.T) {
	from, up, lan := listenUpstream(t), listenUpstream(t), freeLAN(t)
	first := start(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))
	start(t, lanHead(lan, "")+fmt.Sprintf(`
routes:
  - name: looks
    from: {dial: "tcp://%s", codec: line, reconnect: {min: 1ms, max: 10ms}}
    to:   {dial: "discover://scales", codec: long, reconnect: {min: 1ms, max: 10ms}}`, from.Addr()))
	down := from.accept()
	send(t, down, "one\n")
	peer := up.accept()
	expect(t, peer, "one\n")
	peer.Close()
	down.Close()
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, lanHead(lan, "")+"routes:\n"+announcing("b", up))
	send(t, from.accept(), "two\n")
	expect(t, up.accept(), "two\n")
}

func TestLANWithKey(t *testing.T) {
	up, lan, dir := listenUpstream(t), freeLAN(t), t.TempDir()
	for name, key := range map[string]string{"ours": "sixteen bytes or more", "theirs": "other bytes, no fewer", "short": "too short"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	head := func(key string) string { return lanHead(lan, fmt.Sprintf(", key_file: %q", filepath.Join(dir, key))) }
	looks := start(t, head("ours")+"routes:\n"+looking)
	start(t, head("theirs")+"routes:\n"+announcing("a", up))
	start(t, lanHead(lan, "")+"routes:\n"+announcing("b", up))
	waitFor(t, looks, func(s *control.Status) bool { return s.Discovery.Forged > 0 && s.Discovery.Unsigned > 0 })
	start(t, head("ours")+"routes:\n"+announcing("c", up))
	waitFor(t, looks, knows(1))
	if s := looks.Status().Routes[0].Services[0]; !s.Signed {
		t.Errorf("got %+v, want it signed", s)
	}

	err := looks.Reload(t.Context(), parse(t, head("theirs")+"routes:\n"+looking))
	if err == nil || !strings.Contains(err.Error(), "discovery") {
		t.Errorf("got %v, want that discovery needs a new start", err)
	}
	for key, want := range map[string]string{"short": "got 9 bytes, want at least 16", "none": "no such file"} {
		c := parse(t, head(key)+"routes:\n"+looking)
		_, startErr := Start(t.Context(), c, Options{})
		for _, err := range []error{startErr, Check(t.Context(), c, nil)} {
			var errs config.Errors
			if !errors.As(err, &errs) || errs[0].Key != "discovery.key_file" || errs[0].Line == 0 || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s, with its place", key, err, want)
			}
		}
	}
}

// A failed reload leaves discovery closed, as it was.
func TestReloadThatFailsClosesDiscovery(t *testing.T) {
	up, lan := listenUpstream(t), freeLAN(t)
	const other = "  - {name: other, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://127.0.0.1:1\", codec: line}}\n"
	h := start(t, "routes:\n"+other)
	taken := fmt.Sprintf("  - {name: bad, from: {listen: \"tcp://%s\", codec: line}, to: {dial: \"tcp://127.0.0.1:1\", codec: line}}\n", up.Addr())
	if err := h.Reload(t.Context(), parse(t, lanHead(lan, "")+"routes:\n"+announcing("a", up)+taken)); err == nil {
		t.Fatal("got no error for an address that is taken")
	}
	if d := h.Status().Discovery; d != nil {
		t.Errorf("got %+v, want none", d)
	}
	if err := h.Reload(t.Context(), parse(t, lanHead(lan, "")+"routes:\n"+announcing("a", up))); err != nil {
		t.Fatal(err)
	}
	if h.Status().Discovery == nil {
		t.Error("got no discovery")
	}
}

package host

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
)

// A UDP client of a length-prefixed TCP service gets its answer as a datagram, and no other client does.
func TestAnswersOverDatagrams(t *testing.T) {
	service := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {}}}
    to: {dial: "tcp://%s", codec: long}
`, service.Addr()))
	at := netip.MustParseAddrPort(h.Addr("ask").Address)
	one, other := talkTo(t, at), talkTo(t, at)
	one.say("a\nb", "c")
	first := service.accept()
	expect(t, first, long("a\nb")+long("c"))
	other.say("d")
	second := service.accept()
	expect(t, second, long("d"))

	send(t, second, long("for the other"))
	send(t, first, long("x")+long("")+long("y"))
	other.hear("for the other")
	one.hear("x", "", "y")
	one.say("x", "x") // the same bytes as in the answer, and twice: they do not count as echoes
	expect(t, first, long("x")+long("x"))

	status := h.Status().Routes[0]
	if len(status.Sessions) != 2 || status.Accepted != 2 || status.Flows.Live != 2 {
		t.Errorf("got %+v, want 2 sessions", status)
	}
	// The end of the upstream ends the session: the next datagram begins a new one.
	first.Close()
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["fin"] == 1 })
	one.say("again")
	expect(t, service.accept(), long("again"))
	if got := h.Status().Routes[0].ToUpstream; got.FramesIn != 6 {
		t.Errorf("got %+v to upstream, want 6 frames in", got)
	}
}

func TestFlowsOverDatagramsBothSides(t *testing.T) {
	service, err := datagram.Listen(t.Context(), "127.0.0.1:0", datagram.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	h := start(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: line, udp: {flows: {max: 1}}}
    to: {dial: "udp://%s", codec: long}
`, service.Addr()))
	at := netip.MustParseAddrPort(h.Addr("ask").Address)
	one, other := talkTo(t, at), talkTo(t, at)
	one.say("a\nb\n")
	asked := []datagram.Datagram{{Payload: make([]byte, 0, 100)}}
	for _, want := range []string{long("a"), long("b")} {
		if _, err := service.ReadBatch(asked); err != nil || string(asked[0].Payload) != want {
			t.Fatalf("got %q, %v, want %q", asked[0].Payload, err, want)
		}
	}
	answer := []datagram.Datagram{{Payload: []byte(long("c") + long("d")), Remote: asked[0].Remote}}
	if err := service.WriteBatch(answer); err != nil {
		t.Fatal(err)
	}
	one.hear("c\n", "d\n")
	other.say("no room\n")
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Flows.Refused == 1 })
}

func TestFlowEndsWhenIdle(t *testing.T) {
	service := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {idle: 20ms}}}
    to: {dial: "tcp://%s", codec: long}
`, service.Addr()))
	talkTo(t, netip.MustParseAddrPort(h.Addr("ask").Address)).say("a")
	c := service.accept()
	expect(t, c, long("a"))
	expectEnd(t, c, io.EOF)
	c.Close()
	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].Closed["idle_timeout"] == 1 && s.Routes[0].Flows.Live == 0
	})
}

func TestFlowWithoutUpstream(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := start(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {}}}
    to: {dial: "tcp://%s", codec: long}
`, l.Addr()))
	talkTo(t, netip.MustParseAddrPort(h.Addr("ask").Address)).say("a")
	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].Closed["connect_failed"] > 0 && s.Routes[0].Flows.Live == 0
	})
}

// A reload keeps the socket and the flows: a client goes on in its session, and gets answers from it.
func TestFlowsReload(t *testing.T) {
	service := listenUpstream(t)
	yaml := func(idle string) string {
		return fmt.Sprintf(`
routes:
  - name: ask
    timeouts: {idle: %s}
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {}}}
    to: {dial: "tcp://%s", codec: long}
`, idle, service.Addr())
	}
	h := start(t, yaml("1h"))
	at := netip.MustParseAddrPort(h.Addr("ask").Address)
	one := talkTo(t, at)
	one.say("a")
	first := service.accept()
	expect(t, first, long("a"))
	for i := range 3 {
		reload(t, h, yaml(fmt.Sprintf("%dh", 2+i)))
		one.say("b", "c")
		expect(t, first, long("b")+long("c"))
		send(t, first, long("to b"))
		one.hear("to b")
		other := talkTo(t, at)
		other.say("d")
		next := service.accept()
		expect(t, next, long("d"))
		send(t, next, long("to d"))
		other.hear("to d")
	}
	if s := h.Status().Routes[0]; s.Accepted != 4 {
		t.Errorf("got %d sessions accepted, want 4", s.Accepted)
	}
}

func TestFlowsDrain(t *testing.T) {
	service := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {}}}
    to: {dial: "tcp://%s", codec: long}
`, service.Addr()))
	talkTo(t, netip.MustParseAddrPort(h.Addr("ask").Address)).say("a")
	c := service.accept()
	expect(t, c, long("a"))
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(t.Context()) }()
	expectEnd(t, c, io.EOF)
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

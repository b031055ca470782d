package host

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/datagram"
)

// talker is the socket of another program on the network, which sends and receives datagrams on loopback.
type talker struct {
	t *testing.T
	*datagram.Conn
	to netip.AddrPort
}

const loopback = "127.255.255.255"

// freeUDPPort returns a UDP port that no socket has at present.
func freeUDPPort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// talk returns a talker that sends broadcasts to a port of loopback.
func talk(t *testing.T, port int) talker {
	t.Helper()
	return talkTo(t, netip.AddrPortFrom(netip.MustParseAddr(loopback), uint16(port)))
}

func talkTo(t *testing.T, to netip.AddrPort) talker {
	t.Helper()
	c, err := datagram.Dial(t.Context(), to.String(), datagram.Options{Origins: new(datagram.Origins)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return talker{t, c, to}
}

func (k talker) say(payloads ...string) {
	k.t.Helper()
	for _, p := range payloads {
		batch := []datagram.Datagram{{Payload: []byte(p)}}
		if err := k.WriteBatch(batch); err != nil || batch[0].Err != nil {
			k.t.Fatal(err, batch[0].Err)
		}
	}
}

// overhear returns a talker that receives the broadcasts to a port of loopback.
func overhear(t *testing.T, port int) talker {
	t.Helper()
	c, err := datagram.Listen(t.Context(), fmt.Sprintf("%s:%d", loopback, port), datagram.Options{Origins: new(datagram.Origins)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return talker{t, c, netip.AddrPort{}}
}

// hear expects the datagrams want, in this order.
func (k talker) hear(want ...string) {
	k.t.Helper()
	watchdog := time.AfterFunc(10*time.Second, func() { k.Close() })
	defer watchdog.Stop()
	for _, w := range want {
		one := []datagram.Datagram{{Payload: make([]byte, 0, 1<<16)}}
		if _, err := k.ReadBatch(one); err != nil {
			k.t.Fatalf("got %v, want %q", err, w)
		}
		if got := string(one[0].Payload); got != w {
			k.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// dialAt connects over TCP to the address of the route with the index place in Host.Addrs.
func dialAt(t *testing.T, h *Host, route string, place int) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", h.Addrs(route)[place].Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// members waits until the hub of the host's first route has n members.
func members(t *testing.T, h *Host, n int) {
	t.Helper()
	waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == n })
}

func long(payload string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) + payload
}

func TestBroadcastToClientsAndBack(t *testing.T) {
	port := freeUDPPort(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: feed
    from: {listen: "udp://%[1]s:%[2]d", codec: line}
    to:
      - {listen: "tcp://127.0.0.1:0", codec: long}
      - {dial: "udp://%[1]s:%[2]d", codec: line}
`, loopback, port))
	one, other := dialAt(t, h, "feed", 1), dialAt(t, h, "feed", 1)
	members(t, h, 3)
	ship, ear := talk(t, port), overhear(t, port)
	ship.say("$GPGGA\n", "two\nframes\n")
	for _, c := range []net.Conn{one, other} {
		expect(t, c, long("$GPGGA")+long("two")+long("frames"))
	}
	ear.hear("$GPGGA\n", "two\nframes\n")

	// A client's frame is sent as a datagram, reaches the other client, and is not received by framehost itself.
	send(t, one, long("from a client"))
	ear.hear("from a client\n")
	expect(t, other, long("from a client"))
	ship.say("$GPGGA\n") // a repeated frame of a sender passes
	expect(t, one, long("$GPGGA"))
	expect(t, other, long("$GPGGA"))
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Hub.Own == 1 })
	if got := h.Status().Routes[0].Hub; got.DatagramsIn != 3 || got.DatagramsOut != 1 || len(got.Datagrams) != 1 {
		t.Errorf("got %+v, want 3 datagrams in, 1 out, by one place", got)
	}
}

func TestDatagramIsPayload(t *testing.T) {
	h := start(t, `
routes:
  - name: feed
    from: {listen: "udp://127.0.0.1:0", codec: none}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
`)
	c := dialAt(t, h, "feed", 1)
	members(t, h, 2)
	talkTo(t, netip.MustParseAddrPort(h.Addr("feed").Address)).say("a\nb", "c")
	expect(t, c, long("a\nb")+long("c"))
}

// A second host in the same two networks relays everything back, and does not know what the first one sent.
func TestTwoHostsBridgeWithoutLoop(t *testing.T) {
	left, right := freeUDPPort(t), freeUDPPort(t)
	yaml := fmt.Sprintf(`
routes:
  - name: bridge
    from: {listen: "udp://%[1]s:%[2]d", codec: none}
    to:
      - {dial: "udp://%[1]s:%[2]d", codec: none}
      - {listen: "udp://%[1]s:%[3]d", codec: none}
      - {dial: "udp://%[1]s:%[3]d", codec: none}
`, loopback, left, right)
	hosts := []*Host{start(t, yaml), start(t, yaml)}
	for _, h := range hosts {
		members(t, h, 2)
	}
	far, ship := overhear(t, right), talk(t, left)
	said := int64(0)
	for _, payload := range []string{"x", "x", "y", "end"} {
		ship.say(payload)
		said++
		// Both hosts receive all that each of them sent, and then nothing more is sent.
		waitFor(t, hosts[0], func(*control.Status) bool {
			one, other := hosts[0].Status().Routes[0].Hub, hosts[1].Status().Routes[0].Hub
			return one.DatagramsOut >= said && other.DatagramsOut >= said &&
				one.Own == one.DatagramsOut && one.DatagramsIn == said+other.DatagramsOut &&
				other.Own == other.DatagramsOut && other.DatagramsIn == said+one.DatagramsOut
		})
	}
	for _, h := range hosts { // each relays a frame once, or in both directions if it gets the frame from both sides at once
		if got := h.Status().Routes[0].Hub; got.DatagramsOut > 2*said {
			t.Errorf("got %+v, want at most %d datagrams out", got, 2*said)
		}
	}
	heard := map[string]int{}
	one := []datagram.Datagram{{Payload: make([]byte, 0, 100)}}
	for heard["end"] == 0 {
		if _, err := far.ReadBatch(one); err != nil {
			t.Fatal(err)
		}
		heard[string(one[0].Payload)]++
	}
	if heard["x"] < 2 || heard["y"] < 1 {
		t.Errorf("got %v, want no less than was said", heard)
	}
}

func TestListenToListen(t *testing.T) {
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line, echo: true}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
`)
	echoes, plain := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	send(t, echoes, "a\n")
	expect(t, plain, long("a"))
	expect(t, echoes, "a\n")
	send(t, plain, long("b"))
	expect(t, echoes, "b\n")
	send(t, echoes, "c\n")
	expect(t, plain, long("c")) // not b: plain does not get its own frame
}

func TestDialToListen(t *testing.T) {
	source := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: hub
    from: {dial: "tcp://%s", codec: line, reconnect: {min: 1ms, max: 1ms}}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
`, source.Addr()))
	for i, payload := range []string{"first", "again"} {
		feed := source.accept()
		c := dialAt(t, h, "hub", 0)
		waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == 2 })
		send(t, feed, payload+"\n")
		expect(t, c, long(payload))
		for _, end := range []*net.TCPConn{c, feed} { // the dialed side dials again
			_ = end.SetLinger(0)
			end.Close()
		}
		waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["reset"] == int64(2*(i+1)) })
	}
}

// A receiver that does not read loses frames as soon as the buffers between it and the sender are full. The other receiver
// loses none.
func TestSlowReceiver(t *testing.T) {
	const size = 64 << 10
	for _, policy := range []string{"drop_oldest", "drop_newest", "disconnect"} {
		t.Run(policy, func(t *testing.T) {
			h := start(t, fmt.Sprintf(`
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: long}
    to:
      - {listen: "tcp://127.0.0.1:0", codec: long, queue: {frames: 10, policy: %s}}
      - {listen: "tcp://127.0.0.1:0", codec: long, queue: {policy: block}}
`, policy))
			sender, slow, fast := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1), dialAt(t, h, "hub", 2)
			members(t, h, 3)
			payload := strings.Repeat("x", size)
			sent, lost := 0, make(chan struct{})
			var work sync.WaitGroup
			work.Go(func() { sent = sendUntil(t, sender, payload, lost) })
			got := make(chan int)
			go func() { got <- countLong(t, fast, "the end") }()
			if policy == "disconnect" {
				waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Closed["slow_receiver"] == 1 })
			} else {
				waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Hub.DroppedFrames > 0 })
			}
			close(lost)
			work.Wait()
			if got := <-got; got != sent {
				t.Errorf("the fast one got %d frames, want all %d", got, sent)
			}
			if got := h.Status().Routes[0].Hub.DroppedFrames; got == 0 {
				t.Error("got no dropped frames, want some")
			}
			slow.Close()
		})
	}
}

// sendUntil sends frames with payload until enough is closed, and then the frame "the end". It returns how many it sent.
func sendUntil(t *testing.T, c net.Conn, payload string, enough <-chan struct{}) (frames int) {
	for going := true; going; frames++ {
		select {
		case <-enough:
			payload, going = "the end", false
		default:
		}
		if _, err := c.Write([]byte(long(payload))); err != nil {
			t.Error(err)
			return frames
		}
	}
	return frames
}

// countLong reads frames up to the one whose payload is end, and returns how many it read.
func countLong(t *testing.T, c net.Conn, end string) (frames int) {
	in := bufio.NewReader(c)
	var length [4]byte
	for payload := ""; payload != end; frames++ {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			t.Error(err)
			return frames
		}
		b := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(in, b); err != nil {
			t.Error(err)
			return frames
		}
		payload = string(b)
	}
	return frames
}

// With the policy block, the sender waits for a slow receiver, and nothing is lost.
func TestBlockingReceiver(t *testing.T) {
	const size = 64 << 10
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: long}
    to: {listen: "tcp://127.0.0.1:0", codec: long, queue: {frames: 1, policy: block}}
`)
	sender, slow := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	sent, full := 0, make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { sent = sendUntil(t, sender, strings.Repeat("x", size), full) })
	waitFor(t, h, func(s *control.Status) bool {
		return slices.ContainsFunc(s.Routes[0].Hub.Live, func(m control.MemberStatus) bool { return m.QueuedFrames == 1 })
	})
	close(full)
	got := countLong(t, slow, "the end")
	work.Wait()
	if got != sent {
		t.Errorf("got %d frames, want all %d", got, sent)
	}
	if got := h.Status().Routes[0].Hub.DroppedFrames; got != 0 {
		t.Errorf("got %d dropped frames, want none", got)
	}
}

func TestHubDrains(t *testing.T) {
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:0", codec: line}
`)
	from, to := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	send(t, from, "a\n")
	expect(t, to, "a\n")
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(t.Context()) }()
	expectEnd(t, to, io.EOF)
	expectEnd(t, from, io.EOF)
	to.Close()
	from.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHubReload(t *testing.T) {
	const yaml = `
routes:
  - name: hub
    from: {listen: "udp://127.0.0.1:0", codec: line}
    to:
      - {listen: "tcp://127.0.0.1:0", codec: line}
      - {listen: "tcp://127.0.0.1:0", codec: %s}
`
	h := start(t, fmt.Sprintf(yaml, "line"))
	c := dialAt(t, h, "hub", 1)
	members(t, h, 2)
	at := h.Addrs("hub")
	if err := h.Reload(t.Context(), parse(t, "\n"+fmt.Sprintf(yaml, "line"))); err != nil {
		t.Fatal(err)
	}
	if now := h.Addrs("hub"); now[0] != at[0] || now[1] != at[1] {
		t.Fatalf("got %v, want the route untouched at %v", now, at)
	}
	if err := h.Reload(t.Context(), parse(t, fmt.Sprintf(yaml, "long"))); err != nil {
		t.Fatal(err)
	}
	if now := h.Addrs("hub"); now[0] != at[0] || now[1] != at[1] || now[2] != at[2] {
		t.Fatalf("got %v, want sockets that are kept, at %v", now, at)
	}
	d := dialAt(t, h, "hub", 2)
	members(t, h, 3)
	talkTo(t, netip.MustParseAddrPort(h.Addr("hub").Address)).say("new\n")
	expect(t, c, "new\n") // a member from before the reload gets new frames
	expect(t, d, long("new"))
	send(t, c, "old\n")
	expect(t, d, long("old"))
	// A new codec for datagrams: the datagram side is opened again, and streams go on.
	changed := strings.Replace(fmt.Sprintf(yaml, "long"), `"udp://127.0.0.1:0", codec: line`, `"udp://127.0.0.1:0", codec: long`, 1)
	if err := h.Reload(t.Context(), parse(t, changed)); err != nil {
		t.Fatal(err)
	}
	members(t, h, 3)
	talkTo(t, netip.MustParseAddrPort(h.Addr("hub").Address)).say(long("last"))
	expect(t, c, "last\n")
	expect(t, d, long("last"))
}

// A hub route that a reload has replaced ends as soon as it has no members. The members of earlier and later routes, which
// share its room, go on, and new ones can join. The same holds after a refused reload.
func TestHubReloadWithoutMembers(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	yaml := func(idle string) string {
		return fmt.Sprintf(`
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
    timeouts: {idle: %s}
`, idle)
	}
	h := start(t, yaml("60s"))
	if err := h.Reload(t.Context(), parse(t, yaml("61s"))); err != nil {
		t.Fatal(err)
	}
	h.retiring.Wait() // no member has joined yet
	c, d := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	if err := h.Reload(t.Context(), parse(t, strings.Replace(yaml("62s"), `to: {listen: "tcp://127.0.0.1:0"`,
		fmt.Sprintf(`to: {listen: "tcp://%s"`, taken.Addr()), 1))); err == nil {
		t.Error("a reload with an address that is taken was accepted")
	}
	b := dialAt(t, h, "hub", 1) // joins only if the room is not draining
	members(t, h, 3)
	send(t, c, "refused\n")
	expect(t, b, long("refused"))
	expect(t, d, long("refused"))
	if err := h.Reload(t.Context(), parse(t, yaml("63s"))); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(t.Context(), parse(t, yaml("64s"))); err != nil { // the route with 63s had no members
		t.Fatal(err)
	}
	waitFor(t, h, func(*control.Status) bool { // the route with 63s has ended
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.retired) == 1
	})
	e := dialAt(t, h, "hub", 1)
	members(t, h, 4)
	send(t, c, "still\n")
	expect(t, d, long("still"))
	expect(t, e, long("still"))
}

func TestDatagramsDenied(t *testing.T) {
	h := start(t, `
routes:
  - name: hub
    from: {listen: "udp://127.0.0.1:0", codec: line, deny: [127.0.0.0/8]}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
`)
	members(t, h, 1)
	talkTo(t, netip.MustParseAddrPort(h.Addr("hub").Address)).say("a\n")
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Refused == 1 && s.Routes[0].Hub.DatagramsIn == 0 })
}

func TestHubErrors(t *testing.T) {
	port := freeUDPPort(t)
	tests := []struct{ name, yaml, want string }{
		{"state", `{name: r, from: {listen: "udp://127.0.0.1:0", codec: state}, to: {listen: "tcp://127.0.0.1:0", codec: line}}`,
			"codec state, whose frames depend on those before them"},
		{"state in flows", `{name: r, from: {listen: "udp://127.0.0.1:0", codec: line, udp: {flows: {}}}, to: {dial: "tcp://127.0.0.1:1", codec: state}}`,
			"codec state, whose frames depend on those before them"},
		{"one place", fmt.Sprintf(`{name: r, from: {listen: "udp://:%[1]d", codec: line}, to: {dial: "udp://255.255.255.255:%[1]d", codec: line}}`, port),
			"one port of one network"},
		{"two codecs in one place", fmt.Sprintf(`{name: r, from: {listen: "udp://:%[1]d", codec: line},
   to: [{dial: "udp://*:%[1]d", codec: long}, {listen: "tcp://127.0.0.1:0", codec: line}]}`, port),
			"want one codec for both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			yaml := "codecs: [{name: line, plugin: line}, {name: long, plugin: long}, {name: state, plugin: state}]\nroutes:\n - " + tt.yaml
			c, err := config.Parse("test.yaml", "yaml", []byte(yaml), config.LoadOptions{Builtin: []string{"line", "long", "state"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Start(t.Context(), c, Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "test.yaml:") {
				t.Errorf("got %v, want %q with its place", err, tt.want)
			}
			if strings.HasPrefix(tt.name, "state") {
				if err := Check(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("check: got %v, want %q", err, tt.want)
				}
			}
		})
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
)

// drained is the result of Host.Drain.
type drained struct {
	report *control.DrainReport
	err    error
}

// beginDrain begins to drain a route. It returns when the drain has begun; the channel gets its result.
func beginDrain(t *testing.T, h *Host, book *logBook, route string, outdated bool) <-chan drained {
	t.Helper()
	before := len(book.find(t, drainBegins))
	over := make(chan drained, 1)
	go func() {
		report, err := h.Drain(context.Background(), route, outdated)
		over <- drained{report, err}
	}()
	waitFor(t, h, func(*control.Status) bool { return len(book.find(t, drainBegins)) > before })
	return over
}

const drainBegins = "draining: live sessions end as they come to rest, and new ones begin meanwhile"

// wants expects that the drain has ended all its sessions, for these reasons.
func (d drained) wants(t *testing.T, reasons string) {
	t.Helper()
	if d.err != nil {
		t.Fatal(d.err)
	}
	if got := d.report.Reasons(); got != reasons || d.report.Left != 0 {
		t.Errorf("got %q ended and %d left, want %q and none: %+v", got, d.report.Left, reasons, d.report)
	}
}

// startLogged starts a host that logs into the logBook that it returns.
func startLogged(t *testing.T, yaml string) (*Host, *logBook) {
	t.Helper()
	book := &logBook{}
	return startWith(t, yaml, Options{Logger: book.logger(hclog.Info)}), book
}

// Live sessions go on until they are at rest, and end in good order. Meanwhile new connections and other routes are served.
func TestDrainRoute(t *testing.T) {
	up := listenUpstream(t)
	route := func(name string) string {
		return fmt.Sprintf("  - {name: %s, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: long}}\n", name, up.Addr())
	}
	h, book := startLogged(t, "timeouts: {drain: 0s}\nroutes:\n"+route("r")+route("other"))
	open := func(name string) (down, peer *net.TCPConn) {
		down = dialRoute(t, h, name)
		send(t, down, "hi\n")
		peer = up.accept()
		expect(t, peer, long("hi"))
		return down, peer
	}
	busy, busyPeer := open("r")
	quiet, quietPeer := open("r")
	other, otherPeer := open("other")
	send(t, busy, "unfin") // an unfinished frame: the session is not at rest
	waitFor(t, h, func(s *control.Status) bool {
		return s.Routes[0].ToUpstream.BytesWaiting == int64(len("unfin"))
	})
	over := beginDrain(t, h, book, "r", false)
	expectEnd(t, quiet, io.EOF)
	expectEnd(t, quietPeer, io.EOF)
	quiet.Close()
	quietPeer.Close()
	fresh, freshPeer := open("r")
	send(t, busyPeer, long("an answer"))
	expect(t, busy, "an answer\n")
	send(t, busy, "ished\n")
	expect(t, busyPeer, long("unfinished"))
	expectEnd(t, busy, io.EOF)
	expectEnd(t, busyPeer, io.EOF)
	busy.Close()
	busyPeer.Close()
	got := <-over
	got.wants(t, "2 drained")
	if err := got.report.Err(); err != nil {
		t.Error(err)
	}
	if one := got.report.Ended[0]; one.Downstream != busy.LocalAddr().String() || one.Upstream != up.Addr().String() || one.Age == 0 {
		t.Errorf("got %+v, want the addresses of the busy session", one)
	}
	for _, pair := range [][2]*net.TCPConn{{fresh, freshPeer}, {other, otherPeer}} {
		send(t, pair[0], "still\n")
		expect(t, pair[1], long("still"))
	}
	if s := h.Status(); s.Draining || len(s.Routes[0].Sessions) != 1 || s.Routes[0].Accepted != 3 {
		t.Errorf("got %+v, want the session that began meanwhile", s.Routes[0])
	}
	nothing, err := h.Drain(t.Context(), "r", true)
	drained{nothing, err}.wants(t, "")
}

// Sessions that are left after timeouts.drain are cut on both sides, and undelivered frames are reported; other routes go on.
func TestDrainRouteIsCut(t *testing.T) {
	up := listenUpstream(t)
	const yaml = `
routes:
  - {name: r, timeouts: {drain: 50ms}, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[1]s", codec: long}}
  - {name: other, timeouts: {drain: 50ms}, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[1]s", codec: long}}`
	h, book := startLogged(t, fmt.Sprintf(yaml, up.Addr()))
	other := dialRoute(t, h, "other")
	send(t, other, "hi\n")
	otherPeer := up.accept()
	expect(t, otherPeer, long("hi"))
	down := dialRoute(t, h, "r")
	send(t, down, "hi\nunfinished")
	peer := up.accept()
	expect(t, peer, long("hi"))
	got, err := h.Drain(t.Context(), "r", false)
	drained{got, err}.wants(t, "1 drain_timeout")
	if err := got.Err(); !errors.Is(err, control.ErrCut) || !strings.Contains(err.Error(), "1 cut, 0 frames and 10 bytes not delivered") {
		t.Errorf("got %v, want %v and 10 bytes", err, control.ErrCut)
	}
	expectEnd(t, down, syscall.ECONNRESET)
	expectEnd(t, peer, syscall.ECONNRESET)
	send(t, other, "ho\n")
	expect(t, otherPeer, long("ho"))
	if lines := book.find(t, "drained"); len(lines) != 1 || lines[0]["@level"] != "warn" || number(lines[0], "bytes_not_delivered") != 10 {
		t.Errorf("got lines %v, want a warning with 10 bytes", lines)
	}
}

// After reloads, the sessions that opened before can be drained separately, even those of a removed route.
func TestDrainOutdated(t *testing.T) {
	up := listenUpstream(t)
	route := func(name, idle string) string {
		return fmt.Sprintf("  - {name: %s, timeouts: {idle: %s}, from: {listen: \"tcp://127.0.0.1:0\", codec: line}, to: {dial: \"tcp://%s\", codec: long}}\n",
			name, idle, up.Addr())
	}
	h, _ := startLogged(t, "routes:\n"+route("r", "1h")+route("gone", "1h"))
	open := func(name string) (down, peer *net.TCPConn) {
		down = dialRoute(t, h, name)
		send(t, down, "hi\n")
		peer = up.accept()
		expect(t, peer, long("hi"))
		return down, peer
	}
	ended := func(down, peer *net.TCPConn) {
		t.Helper()
		expectEnd(t, down, io.EOF)
		expectEnd(t, peer, io.EOF)
		down.Close()
		peer.Close()
	}
	drain := func(name string, outdated bool) <-chan drained {
		over := make(chan drained, 1)
		go func() {
			report, err := h.Drain(t.Context(), name, outdated)
			over <- drained{report, err}
		}()
		return over
	}
	first, firstPeer := open("r")
	gone, gonePeer := open("gone")
	reload(t, h, "routes:\n"+route("r", "2h"))
	second, secondPeer := open("r")
	reload(t, h, "routes:\n"+route("r", "3h"))
	third, thirdPeer := open("r")

	over := drain("r", true)
	ended(first, firstPeer)
	ended(second, secondPeer)
	(<-over).wants(t, "2 drained")
	over = drain("gone", true)
	ended(gone, gonePeer)
	(<-over).wants(t, "1 drained")
	waitFor(t, h, func(*control.Status) bool { // the removed route ends with its last session
		_, err := h.Drain(t.Context(), "gone", false)
		return errors.Is(err, control.ErrNoRoute)
	})
	send(t, third, "still\n")
	expect(t, thirdPeer, long("still"))
	over = drain("r", false)
	ended(third, thirdPeer)
	(<-over).wants(t, "1 drained")
}

// On all sides of a hub, a drain ends the connections, and new ones take part. Frames that wait for a dialed endpoint go to its
// next connection.
func TestDrainHub(t *testing.T) {
	up := listenUpstream(t)
	const yaml = `
routes:
  - name: hub
    timeouts: {idle: %s}
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to:
      - {listen: "tcp://127.0.0.1:0", codec: long}
      - {listen: "udp://127.0.0.1:0", codec: line}
      - {dial: "tcp://%s", codec: line, reconnect: {min: 1ms, max: 10ms}}`
	h, book := startLogged(t, fmt.Sprintf(yaml, "1h", up.Addr()))
	talker := talkTo(t, netip.MustParseAddrPort(h.Addrs("hub")[2].Address))
	sender, receiver := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	dialed := up.accept()
	members(t, h, 4)
	send(t, sender, "a\nunfin")
	expect(t, receiver, long("a"))
	expect(t, dialed, "a\n")
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Hub.BytesWaiting == int64(len("unfin")) })

	over := beginDrain(t, h, book, "hub", false)
	expectEnd(t, receiver, io.EOF)
	expectEnd(t, dialed, io.EOF)
	receiver.Close()
	dialed.Close()
	dialed = up.accept()
	receiver = dialAt(t, h, "hub", 1)
	waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == 4 && len(s.Routes[0].Hub.Away) == 0 })
	talker.say("b\n")
	expect(t, sender, "b\n")
	expect(t, receiver, long("b"))
	expect(t, dialed, "b\n")
	send(t, sender, "ished\n")
	expect(t, receiver, long("unfinished"))
	expect(t, dialed, "unfinished\n")
	expectEnd(t, sender, io.EOF)
	sender.Close()
	got := <-over
	got.wants(t, "3 drained")
	if one := got.report.Ended[0]; !strings.HasPrefix(one.Endpoint, "listen tcp://") && !strings.HasPrefix(one.Endpoint, "dial tcp://") || one.Peer == "" {
		t.Errorf("got %+v, want an endpoint and a peer", one)
	}
	if hub := h.Status().Routes[0].Hub; hub.FramesNotDelivered != 0 || hub.DroppedFrames != 0 || len(hub.Live) != 3 {
		t.Errorf("got %+v, want two connections and datagrams, and nothing lost", hub)
	}

	// A reload passes on a dialed side with its connection, which is not outdated; connections to listeners are outdated.
	reload(t, h, fmt.Sprintf(yaml, "2h", up.Addr()))
	after := dialAt(t, h, "hub", 1)
	waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == 4 })
	over = beginDrain(t, h, book, "hub", true)
	expectEnd(t, receiver, io.EOF)
	receiver.Close()
	(<-over).wants(t, "1 drained")
	talker.say("c\n")
	expect(t, after, long("c"))
	expect(t, dialed, "c\n")
}

// The session of a peer that sends datagrams is drained; the next datagram of the peer begins a new session.
func TestDrainFlows(t *testing.T) {
	service := listenUpstream(t)
	h, _ := startLogged(t, fmt.Sprintf(`
routes:
  - name: ask
    from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {}}}
    to: {dial: "tcp://%s", codec: long}
`, service.Addr()))
	one := talkTo(t, netip.MustParseAddrPort(h.Addr("ask").Address))
	one.say("a")
	c := service.accept()
	expect(t, c, long("a"))
	over := make(chan drained, 1)
	go func() {
		report, err := h.Drain(t.Context(), "ask", false)
		over <- drained{report, err}
	}()
	expectEnd(t, c, io.EOF)
	c.Close()
	(<-over).wants(t, "1 drained")
	one.say("b")
	c = service.accept()
	expect(t, c, long("b"))
}

// A drain goes on when its caller stops waiting. A drain that is under way when the host ends is answered.
func TestDrainGoesOn(t *testing.T) {
	up := listenUpstream(t)
	socket := filepath.Join(t.TempDir(), "control.sock")
	var book logBook
	h, err := Start(t.Context(), parse(t, fmt.Sprintf(`
control: {socket: %q}
timeouts: {drain: 0s}
routes:
  - {name: scales, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}`, socket, up.Addr())),
		Options{Logger: book.logger(hclog.Info), Control: true})
	if err != nil {
		t.Fatal(err)
	}
	var downs, peers []*net.TCPConn
	for range 2 {
		down := dialRoute(t, h, "scales")
		send(t, down, "hi\nunfin")
		peer := up.accept()
		expect(t, peer, long("hi"))
		downs, peers = append(downs, down), append(peers, peer)
	}
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].ToUpstream.BytesWaiting == 10 })
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := control.RequestDrain(ctx, socket, "scales", false)
		left <- err
	}()
	waitFor(t, h, func(*control.Status) bool { return len(book.find(t, drainBegins)) == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	send(t, downs[0], "ished\n")
	expect(t, peers[0], long("unfinished"))
	expectEnd(t, downs[0], io.EOF)
	expectEnd(t, peers[0], io.EOF)
	downs[0].Close()
	peers[0].Close()
	waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Sessions) == 1 })

	answered := make(chan drained, 1)
	go func() {
		report, err := control.RequestDrain(t.Context(), socket, "scales", false)
		answered <- drained{report, err}
	}()
	waitFor(t, h, func(*control.Status) bool { return len(book.find(t, drainBegins)) == 2 })
	ended, end := context.WithCancel(t.Context())
	end() // cut at once
	if err := h.Shutdown(ended); !errors.Is(err, control.ErrCut) {
		t.Errorf("got %v, want %v", err, control.ErrCut)
	}
	got := <-answered
	got.wants(t, "1 drain_timeout")
	if got.report.Cut != 1 || got.report.BytesNotDelivered != 5 {
		t.Errorf("got %+v, want 5 bytes not delivered", got.report)
	}
	if _, err := h.Drain(t.Context(), "scales", false); !errors.Is(err, errHostEnds) {
		t.Errorf("got %v, want %v", err, errHostEnds)
	}
}

// Only POST drains, and errors in a request are reported.
func TestDrainRequests(t *testing.T) {
	up := listenUpstream(t)
	socket := filepath.Join(t.TempDir(), "control.sock")
	h := startWith(t, fmt.Sprintf(`
control: {socket: %q}
routes:
  - {name: scales, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[2]s", codec: long}}
  - {name: printer, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[2]s", codec: long}}`, socket, up.Addr()),
		Options{Control: true})
	down := dialRoute(t, h, "scales")
	send(t, down, "hi\n")
	peer := up.accept()
	expect(t, peer, long("hi"))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	tests := []struct {
		name, method, query string
		status              int
		answer              string
	}{
		{"another method", http.MethodGet, "?route=scales", http.StatusMethodNotAllowed, "Method Not Allowed"},
		{"no route", http.MethodPost, "", http.StatusBadRequest, "got no route to drain"},
		{"which sessions is unclear", http.MethodPost, "?route=scales&outdated=perhaps", http.StatusBadRequest, `got "perhaps", want true or false`},
		{"a route that is not there", http.MethodPost, "?route=dock", http.StatusNotFound, `there is no route "dock", want one of printer, scales`},
		{"a name that is nearly right", http.MethodPost, "?route=scale", http.StatusNotFound, "did you mean scales?"},
		{"nothing to drain", http.MethodPost, "?route=printer", http.StatusOK, `{"route":"printer","ended":[],"cut":0,"left":0,`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), tt.method, "http://framehost/v1/drain"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			answer, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != tt.status || !strings.Contains(string(answer), tt.answer) {
				t.Errorf("got %s %q, %v; want %d and %q", response.Status, answer, err, tt.status, tt.answer)
			}
		})
	}
	send(t, down, "still\n")
	expect(t, peer, long("still"))
}

// A dialed side waits until the connection of an earlier configuration ends. A reload passes on the waiting side, and it dials
// later.
func TestReloadPassesOnASideThatWaits(t *testing.T) {
	up := listenUpstream(t)
	const yaml = `
routes:
  - name: hub
    timeouts: {idle: %s}
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: [{listen: "tcp://127.0.0.1:0", codec: line}, {dial: "tcp://%s", codec: %s, reconnect: {min: 1ms, max: 10ms}}]`
	h := start(t, fmt.Sprintf(yaml, "1h", up.Addr(), "line"))
	first := up.accept()
	members(t, h, 1)
	reload(t, h, fmt.Sprintf(yaml, "1h", up.Addr(), "long")) // waits for first
	reload(t, h, fmt.Sprintf(yaml, "2h", up.Addr(), "long"))
	_ = first.SetLinger(0) // resets: a peer that only ends its own direction stays a member
	first.Close()
	second := up.accept()
	members(t, h, 1)
	send(t, dialAt(t, h, "hub", 0), "hi\n")
	expect(t, second, long("hi"))
}

// A hub goes on after the last member from before a reload has left, and after a failed reload.
func TestHubOutlivesItsRoutes(t *testing.T) {
	taken := listenUpstream(t)
	const yaml = `
routes:
  - name: hub
    timeouts: {idle: %s}
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:%s", codec: line}`
	h := start(t, fmt.Sprintf(yaml, "1h", "0"))
	relays := func() {
		t.Helper()
		from, to := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
		members(t, h, 2)
		send(t, from, "hi\n")
		expect(t, to, "hi\n")
		for _, c := range []*net.TCPConn{from, to} {
			_ = c.SetLinger(0)
			c.Close()
		}
		members(t, h, 0)
	}
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	if err := h.Reload(t.Context(), parse(t, fmt.Sprintf(yaml, "1h", port))); err == nil {
		t.Fatal("the reload did not fail")
	}
	relays()
	reload(t, h, fmt.Sprintf(yaml, "2h", "0"))
	waitFor(t, h, func(*control.Status) bool { // the old route has ended
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.retired) == 0
	})
	relays()
}

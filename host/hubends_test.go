package host

import (
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// joined waits until c is a member of the hub of the host's first route.
func joined(t *testing.T, h *Host, c *net.TCPConn) {
	t.Helper()
	waitFor(t, h, func(s *control.Status) bool {
		return slices.ContainsFunc(s.Routes[0].Hub.Live, func(m control.MemberStatus) bool { return m.Peer == c.LocalAddr().String() })
	})
}

// When max_connections is reached, receivers that have gone make room for new ones, in the order in which they went. Receivers
// that have only ended their own direction stay as long as there is room or frames arrive at them.
func TestReceiversThatLeftMakeRoom(t *testing.T) {
	h := start(t, `
limits: {max_connections: 4}
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line, direction: receive}
    to: {listen: "tcp://127.0.0.1:0", codec: line, direction: send}
`)
	halfClosed := func(n int) {
		t.Helper()
		waitFor(t, h, func(s *control.Status) bool {
			got := 0
			for _, m := range s.Routes[0].Hub.Live {
				if m.HalfClosed {
					got++
				}
			}
			return got == n
		})
	}
	sender, reader := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	if err := reader.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	halfClosed(1)
	send(t, sender, "a\n")
	expect(t, reader, "a\n") // reader still receives
	for range 2 {
		dialAt(t, h, "hub", 1).Close()
	}
	halfClosed(3)
	for i := range 2 {
		next := dialAt(t, h, "hub", 1)
		joined(t, h, next)
		send(t, sender, "b\n")
		expect(t, reader, "b\n")
		expect(t, next, "b\n")
		if err := next.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		members(t, h, 3+i) // the other receiver that has gone answered the frame with a reset
		halfClosed(2 + i)
	}
	if s := h.Status(); s.Routes[0].Refused != 0 || s.Connections > 4 {
		t.Errorf("got %d refused and %d connections, want none refused", s.Routes[0].Refused, s.Connections)
	}
}

// Many receivers that come and go do not keep new receivers from joining the hub.
func TestStormOfReceivers(t *testing.T) {
	h := start(t, `
limits: {max_connections: 50}
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line, direction: receive}
    to: {listen: "tcp://127.0.0.1:0", codec: line, direction: send, shutdown: true}
`)
	sender := dialAt(t, h, "hub", 0)
	members(t, h, 1)
	for i := range 120 {
		dialAt(t, h, "hub", 1).Close()
		waitFor(t, h, func(s *control.Status) bool { // the hub notices each that goes
			live := s.Routes[0].Hub.Live
			return s.Routes[0].Accepted == int64(i+2) && len(live) == min(i+2, 50) &&
				!slices.ContainsFunc(live[1:], func(m control.MemberStatus) bool { return !m.HalfClosed })
		})
	}
	reader := dialAt(t, h, "hub", 1)
	joined(t, h, reader)
	send(t, sender, "a\n")
	expect(t, reader, "a\n")
	if s := h.Status().Routes[0]; s.Refused != 0 || s.Closed["refused"] < 120-50 {
		t.Errorf("got %d refused, %v; want none refused, and those that had gone to give way", s.Refused, s.Closed)
	}
	// Receivers that have gone answered the frame with a reset. The hub notices this although it writes nothing more.
	members(t, h, 2)
}

// The hub notices at once that a Unix peer has closed its connection.
func TestUnixReceiverLeaves(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows it")
	}
	path := filepath.Join(t.TempDir(), "s")
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line, direction: receive}
    to: {listen: "unix://`+path+`", codec: line, direction: send}
`)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	members(t, h, 1)
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].Hub.Live[0].HalfClosed })
	c.Close()
	waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == 0 && s.Routes[0].Closed["fin"] == 1 })
}

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
)

// For each way in which a session can end, log and status have a reason of its own, and the log the direction.
func TestReasons(t *testing.T) {
	closeWrite := func(t *testing.T, c *net.TCPConn) {
		t.Helper()
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	}
	reset := func(t *testing.T, c *net.TCPConn) {
		t.Helper()
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
			t.Error(err)
		}
	}
	const toUpstream, toDownstream = "to upstream", "to downstream"
	tests := []struct {
		reason    string
		direction string // "": the log has no direction
		route     string // further settings of the route
		happen    func(t *testing.T, down, up *net.TCPConn)
	}{
		{"fin", "", "", func(t *testing.T, down, up *net.TCPConn) { closeWrite(t, down); closeWrite(t, up) }},
		{"fin_mid_frame", toUpstream, "", func(t *testing.T, down, _ *net.TCPConn) { send(t, down, "par"); closeWrite(t, down) }},
		{"reset", toDownstream, "", func(t *testing.T, _, up *net.TCPConn) { reset(t, up) }},
		{"idle_timeout", "", "timeouts: {idle: 50ms}", func(*testing.T, *net.TCPConn, *net.TCPConn) {}},
		{"frame_timeout", toUpstream, "timeouts: {frame: 50ms}",
			func(t *testing.T, down, _ *net.TCPConn) { send(t, down, "par") }},
		{"half_close_timeout", toDownstream, "timeouts: {half_close: 50ms}",
			func(t *testing.T, down, _ *net.TCPConn) { closeWrite(t, down) }},
		{"write_timeout", toUpstream, "timeouts: {write: 50ms}", func(_ *testing.T, down, _ *net.TCPConn) {
			for frame := append(make([]byte, 1<<16), '\n'); ; { // the upstream does not read
				if _, err := down.Write(frame); err != nil {
					return
				}
			}
		}},
		{"violation", toUpstream, "", func(t *testing.T, down, _ *net.TCPConn) { send(t, down, "!\n") }},
		{"unrepresentable", toDownstream, "",
			func(t *testing.T, _, up *net.TCPConn) { send(t, up, "\x00\x00\x00\x0btoo long it") }},
		{"codec_failed", toUpstream, "", func(t *testing.T, down, _ *net.TCPConn) { send(t, down, "*\n") }},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			var book logBook
			l := listenUpstream(t)
			codec := "line"
			if test.reason == "unrepresentable" {
				codec = "short"
			}
			c := parse(t, fmt.Sprintf(`
routes:
  - name: r
    from: {listen: "tcp://127.0.0.1:0", codec: %s}
    to: {dial: "tcp://%s", codec: long}
    %s`, codec, l.Addr(), test.route))
			h, err := Start(t.Context(), c, Options{Logger: book.logger(hclog.Info)})
			if err != nil {
				t.Fatal(err)
			}
			down := dialRoute(t, h, "r")
			up := l.accept()
			waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Sessions) == 1 })
			test.happen(t, down, up)
			waitFor(t, h, func(s *control.Status) bool {
				return s.Routes[0].Closed[test.reason] == 1 && len(s.Routes[0].Closed) == 1
			})
			if err := h.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			lines := book.find(t, "session ended")
			if len(lines) != 1 || lines[0]["reason"] != test.reason {
				t.Fatalf("got lines %v, want one with the reason %s", lines, test.reason)
			}
			if got, _ := lines[0]["direction"].(string); got != test.direction {
				t.Errorf("got direction %q, want %q", got, test.direction)
			}
		})
	}
}

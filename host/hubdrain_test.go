package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/relay"
)

// A draining hub goes on relaying between its members, and its listeners accept no more connections.
func TestHubGoesOnWhileItDrains(t *testing.T) {
	h := start(t, `
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:0", codec: long}
`)
	from, to := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(t.Context()) }()
	waitFor(t, h, func(s *control.Status) bool { return s.Draining })
	send(t, from, "a\n")
	expect(t, to, long("a"))
	expectEnd(t, to, io.EOF)
	expectEnd(t, from, io.EOF)
	to.Close()
	from.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if closed := h.Status().Routes[0].Closed; closed[string(relay.Drained)] != 2 {
		t.Errorf("got %v, want 2 drained", closed)
	}
}

// Frames that a hub did not deliver within timeouts.drain are reported: those for a receiver that does not read, and those for a
// dialed endpoint without a connection.
func TestHubSaysWhatItDidNotDeliver(t *testing.T) {
	const size = 64 << 10
	var log bytes.Buffer
	h := startWith(t, fmt.Sprintf(`
timeouts: {drain: 100ms}
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: long}
    to:
      - {listen: "tcp://127.0.0.1:0", codec: long, queue: {frames: 100, bytes: 64MiB}}
      - {dial: "tcp://%s", codec: line, queue: {frames: 3}}
`, away(t)), Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info})})
	sender, slow := dialAt(t, h, "hub", 0), dialAt(t, h, "hub", 1)
	members(t, h, 2)
	full := func(s *control.Status) bool {
		return slices.ContainsFunc(s.Routes[0].Hub.Live, func(m control.MemberStatus) bool { return m.QueuedFrames >= 50 })
	}
	for i := 0; !full(h.Status()) && i < 10_000; i++ {
		send(t, sender, long(strings.Repeat("x", size)))
	}
	waitFor(t, h, full)
	err := h.Shutdown(context.Background())
	if !errors.Is(err, control.ErrCut) {
		t.Errorf("got %v, want %v", err, control.ErrCut)
	}
	_ = slow.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, slow); err == nil {
		t.Error("the slow one saw a clean end, want a reset")
	}
	hub := h.Status().Routes[0].Hub
	if hub.FramesNotDelivered < 50+3 || hub.BytesNotDelivered < 50*size {
		t.Errorf("got %d frames, %d bytes not delivered, want at least 53 frames", hub.FramesNotDelivered, hub.BytesNotDelivered)
	}
	for _, want := range []string{
		`[WARN]  member left`, "reason=drain_timeout", "frames_not_delivered=", "frames that waited for a connection are not delivered", "frames_not_delivered=3",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got a log without %q:\n%s", want, log.String())
		}
	}
}

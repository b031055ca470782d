package host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// Peers that send only the beginning of a frame leave other routes the memory that those need, and status shows how much memory
// is held.
func TestIdlePeersLeaveMemoryToOthers(t *testing.T) {
	const peers, each = 254, 70_000
	u := listenUpstream(t)
	h := start(t, fmt.Sprintf(`
routes:
  - {name: idle, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[1]s", codec: long}}
  - {name: other, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%[1]s", codec: long}}
`, u.Addr()))
	for range peers {
		c := dialRoute(t, h, "idle")
		u.accept()
		send(t, c, strings.Repeat("x", each))
	}
	waitFor(t, h, func(s *control.Status) bool { return s.Routes[0].ToUpstream.BytesRead == peers*each })
	if memory := h.Status().Memory; memory.Used < peers*each || memory.Used > 3*peers*each || memory.Limit != 1<<30 {
		t.Errorf("%d peers with %d bytes each hold %+v, want that or up to three times that, of 1 GiB", peers, each, memory)
	} else {
		t.Logf("%d peers with %d bytes each hold %d bytes", peers, each, memory.Used)
	}
	c := dialRoute(t, h, "other")
	up := u.accept()
	for _, size := range []int{100, 70_000, 1 << 20} {
		payload := strings.Repeat("y", size)
		go func() { _, _ = c.Write([]byte(payload + "\n")) }()
		expect(t, up, long(payload))
	}
	if closed := h.Status().Routes; len(closed[0].Closed)+len(closed[1].Closed) > 0 {
		t.Errorf("sessions have ended: %v, %v", closed[0].Closed, closed[1].Closed)
	}
}

// The buffers of datagram sockets are charged to limits.memory, and are smaller with a low limit.
func TestSocketsAreCharged(t *testing.T) {
	tests := []struct {
		limit string
		bytes int64
	}{
		{"1GiB", 8 << 20},
		{"16MiB", 1 << 20},
		{"4MiB", 256 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.limit, func(t *testing.T) {
			h := start(t, fmt.Sprintf(`
limits: {memory: %s, max_frame: 64KiB}
routes: [{name: r, from: {listen: "udp://127.0.0.1:0", codec: line}, to: {listen: "tcp://127.0.0.1:0", codec: long}}]
`, tt.limit))
			members(t, h, 1)
			if used := h.Status().Memory.Used; used < tt.bytes || used > tt.bytes+64<<10 {
				t.Errorf("%d bytes are charged, want %d and little more", used, tt.bytes)
			}
		})
	}
}

package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/framehost/framehost/host/control"
)

// away returns a TCP address at which nothing listens, and which no outgoing connection is assigned meanwhile.
func away(t *testing.T) string {
	t.Helper()
	ip := "127.0.0.1"
	if runtime.GOOS == "linux" {
		ip = fmt.Sprintf("127.77.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
	}
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listenAgain listens at an address that was in use before.
func listenAgain(t *testing.T, address string) upstream {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return upstream{t, l}
}

func awayHub(s *control.Status) *control.MemberStatus {
	if hub := s.Routes[0].Hub; len(hub.Away) == 1 {
		return &hub.Away[0]
	}
	return new(control.MemberStatus)
}

// Frames that come while the collector is down arrive when it is up, and so they do when it is down a second time.
func TestDatagramsWaitForTheCollector(t *testing.T) {
	collector := away(t)
	h := start(t, fmt.Sprintf(`
routes:
  - name: hub
    from: {listen: "udp://127.0.0.1:0", codec: none}
    to: {dial: "tcp://%s", codec: long, reconnect: {min: 1ms, max: 10ms}}
`, collector))
	device := talkTo(t, netip.MustParseAddrPort(h.Addr("hub").Address))
	for _, said := range []string{"a", "b"} {
		device.say(said, said+said)
		waitFor(t, h, func(s *control.Status) bool {
			away := awayHub(s)
			return away.QueuedFrames == 2 && away.DroppedFrames == 0
		})
		l := listenAgain(t, collector)
		c := l.accept()
		expect(t, c, long(said)+long(said+said))
		device.say("live")
		expect(t, c, long("live"))
		_ = c.SetLinger(0)
		c.Close()
		l.Close()
		waitFor(t, h, func(s *control.Status) bool { return len(s.Routes[0].Hub.Live) == 1 && len(s.Routes[0].Hub.Away) == 1 })
	}
}

// When the queue for a collector that is down is full, its policy applies, and dropped frames are counted.
func TestQueueFillsWhileTheCollectorIsDown(t *testing.T) {
	tests := []struct {
		policy  string
		want    []string
		dropped int64
	}{
		{"drop_oldest", []string{"4", "5"}, 3},
		{"drop_newest", []string{"1", "2"}, 3},
		{"disconnect", []string{"5"}, 4},
		{"block", []string{"1", "2", "3", "4", "5"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.policy, func(t *testing.T) {
			collector := away(t)
			h := start(t, fmt.Sprintf(`
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: [{dial: "tcp://%s", codec: long, reconnect: {min: 1ms, max: 10ms}, queue: {frames: 2, policy: %s}}]
`, collector, tt.policy))
			device := dialAt(t, h, "hub", 0)
			send(t, device, "1\n2\n3\n4\n5\n")
			waitFor(t, h, func(s *control.Status) bool {
				return s.Routes[0].Hub.FramesIn == 5 && awayHub(s).DroppedFrames == tt.dropped && awayHub(s).QueuedFrames > 0
			})
			c := listenAgain(t, collector).accept()
			var want strings.Builder
			for _, payload := range tt.want {
				want.WriteString(long(payload))
			}
			expect(t, c, want.String())
			send(t, device, "end\n")
			expect(t, c, long("end"))
			waitFor(t, h, func(s *control.Status) bool {
				hub := s.Routes[0].Hub
				return hub.DroppedFrames == tt.dropped && len(hub.Live) == 2 && hub.Live[1].DroppedFrames+hub.Live[0].DroppedFrames == tt.dropped
			})
		})
	}
}

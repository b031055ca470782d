package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A stalledFlood is a sender that sends as fast as it can, and a receiver that pauses several times until the sender is blocked.
type stalledFlood struct {
	sender, receiver *net.TCPConn
	pauses           int
}

// run sends wire and returns the first n bytes that the receiver got.
func (f stalledFlood) run(t *testing.T, wire []byte, n int) []byte {
	t.Helper()
	_ = f.receiver.SetReadBuffer(512 << 10)
	_ = f.sender.SetWriteBuffer(512 << 10)
	resume := make(chan struct{}, f.pauses)
	go func() {
		for range f.pauses {
			_ = f.sender.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)) // only for the time at which the receiver goes on
			written, err := f.sender.Write(wire)
			wire = wire[written:]
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				break // the receiver reports the failure
			}
			resume <- struct{}{}
		}
		close(resume)
		_ = f.sender.SetWriteDeadline(time.Now().Add(time.Minute))
		_, _ = f.sender.Write(wire)
		_ = f.sender.CloseWrite()
	}()
	_ = f.receiver.SetReadDeadline(time.Now().Add(time.Minute))
	var got bytes.Buffer
	for range resume {
		if _, err := io.CopyN(&got, f.receiver, int64(min(1<<20, n-got.Len()))); err != nil {
			t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
	}
	if _, err := io.CopyN(&got, f.receiver, int64(n-got.Len())); err != nil {
		t.Fatalf("after %d of %d bytes: %v", got.Len(), n, err)
	}
	return got.Bytes()
}

// Many small frames that wait for a slow receiver never make a call that is too large for a plugin, however low the limit for
// a frame is.
func TestFloodOfSmallFrames(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("moves 16 MiB many times")
	}
	frame := strings.Repeat("x", 200)
	const count = 16 << 20 / 200
	wire, want := []byte(strings.Repeat(frame+"\n", count)), []byte(strings.Repeat(long(frame), count))
	onPlanes(t, func(t *testing.T, plane string) {
		for _, maxFrame := range []string{"4KiB", "64KiB", "1MiB", "4MiB"} {
			t.Run(maxFrame, func(t *testing.T) {
				limits := plane + fmt.Sprintf("limits: {max_frame: %s}\n", maxFrame)
				t.Run("session", func(t *testing.T) {
					u := listenUpstream(t)
					h := start(t, limits+fmt.Sprintf(`
routes: [{name: r, from: {listen: "tcp://127.0.0.1:0", codec: line}, to: {dial: "tcp://%s", codec: long}}]
`, u.Addr()))
					sender := dialRoute(t, h, "r")
					if got := (stalledFlood{sender, u.accept(), 4}).run(t, wire, len(want)); !bytes.Equal(got, want) {
						t.Errorf("got %d bytes that differ from the %d sent", len(got), len(want))
					}
				})
				t.Run("hub", func(t *testing.T) {
					h := start(t, limits+`
routes:
  - name: r
    from: {listen: "tcp://127.0.0.1:0", codec: line}
    to: {listen: "tcp://127.0.0.1:0", codec: long, queue: {policy: block}}
`)
					receiver, sender := dialAt(t, h, "r", 1), dialAt(t, h, "r", 0)
					members(t, h, 2)
					if got := (stalledFlood{sender, receiver, 4}).run(t, wire, len(want)); !bytes.Equal(got, want) {
						t.Errorf("got %d bytes that differ from the %d sent", len(got), len(want))
					}
				})
				t.Run("datagrams", func(t *testing.T) { testFloodOfDatagrams(t, limits, frame) })
			})
		}
	})
}

// testFloodOfDatagrams sends datagrams full of small frames to a receiver that reads nothing until 200 datagrams are sent.
// Some datagrams may get lost.
func testFloodOfDatagrams(t *testing.T, limits, frame string) {
	u := listenUpstream(t)
	h := start(t, limits+fmt.Sprintf(`
routes:
  - name: r
    from: {listen: "udp://127.0.0.1:0", codec: line, udp: {flows: {max: 4}}}
    to: {dial: "tcp://%s", codec: long}
`, u.Addr()))
	sender, err := net.Dial("udp", h.Addr("r").Address)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	datagram := []byte(strings.Repeat(frame+"\n", 60_000/(len(frame)+1)))
	send(t, sender, string(datagram))
	receiver := u.accept()
	for range 200 {
		send(t, sender, string(datagram))
	}
	want := []byte(strings.Repeat(long(frame), 20*60_000/(len(frame)+1)))
	_ = receiver.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(want))
	for read := 0; read < len(got); {
		send(t, sender, string(datagram)) // goes on although datagrams may have been lost
		n, err := receiver.Read(got[read:])
		if err != nil {
			t.Fatalf("after %d bytes: %v", read, err)
		}
		read += n
	}
	if !bytes.Equal(got, want) {
		t.Error("frames arrive that were not sent")
	}
	if closed := h.Status().Routes[0].Closed; len(closed) > 0 {
		t.Errorf("sessions have ended: %v", closed)
	}
}

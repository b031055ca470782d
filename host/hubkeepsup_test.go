package host

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Receivers that read as fast as they can lose no frame of senders that send as fast as they can, with default queues, although
// one batch of frames is many times what a queue holds.
func TestHubLosesNothingWhileReceiversKeepUp(t *testing.T) {
	onPlanes(t, func(t *testing.T, plane string) {
		for _, crowd := range []struct{ senders, receivers, frames, size int }{
			{1, 1, 200_000, 100}, {1, 1, 200_000, 10}, {1, 5, 50_000, 100}, {4, 1, 25_000, 100}, {3, 3, 20_000, 100},
		} {
			t.Run(fmt.Sprintf("%d to %d, %d bytes", crowd.senders, crowd.receivers, crowd.size), func(t *testing.T) {
				h := startWith(t, plane+`
routes:
  - name: hub
    from: {listen: "tcp://127.0.0.1:0", codec: line, direction: receive}
    to: {listen: "tcp://127.0.0.1:0", codec: line, direction: send}
`, Options{receiverPatience: 2 * time.Minute}) // on a busy machine a receiver may wait long for a processor
				var senders, receivers []*net.TCPConn
				for range crowd.senders {
					senders = append(senders, dialAt(t, h, "hub", 0))
				}
				for range crowd.receivers {
					receivers = append(receivers, dialAt(t, h, "hub", 1))
				}
				members(t, h, crowd.senders+crowd.receivers)
				var work sync.WaitGroup
				for i, c := range senders {
					work.Go(func() {
						if _, err := c.Write(numberedLines(i, crowd.frames, crowd.size)); err != nil {
							t.Error(err)
						}
					})
				}
				for i, c := range receivers {
					work.Go(func() {
						if got, err := countLines(c, crowd.senders, crowd.frames); err != nil || got != crowd.senders*crowd.frames {
							t.Errorf("receiver %d got %d frames, %v, want all %d", i, got, err, crowd.senders*crowd.frames)
						}
					})
				}
				work.Wait()
				if dropped := h.Status().Routes[0].Hub.DroppedFrames; dropped != 0 {
					t.Errorf("got %d frames dropped, want none", dropped)
				}
			})
		}
	})
}

// numberedLines returns frames of size bytes, including LF: the number of the sender, that of the frame, and dots as padding.
func numberedLines(sender, frames, size int) []byte {
	var all bytes.Buffer
	dots := strings.Repeat(".", size)
	for i := range frames {
		line := fmt.Sprintf("%d %d ", sender, i)
		all.WriteString(line)
		all.WriteString(dots[:size-1-min(len(line), size-1)])
		all.WriteByte('\n')
	}
	return all.Bytes()
}

// countLines reads until the last frame of each sender has arrived, and returns how many frames came. It returns an error if
// some came twice or out of order.
func countLines(c *net.TCPConn, senders, frames int) (got int, err error) {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReaderSize(c, 256<<10)
	next := make([]int, senders)
	for left := senders; left > 0; got++ {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return got, err
		}
		name, rest, _ := bytes.Cut(line, []byte(" "))
		number, _, _ := bytes.Cut(rest, []byte(" "))
		sender, _ := strconv.Atoi(string(name))
		n, _ := strconv.Atoi(string(number))
		if n < next[sender] {
			return got, fmt.Errorf("frame %d of sender %d, want %d or a later one", n, sender, next[sender])
		}
		if next[sender] = n + 1; n == frames-1 {
			left--
		}
	}
	return got, nil
}

package relay

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// startFor starts a session of a route, for a peer.
func startFor(t *testing.T, route *Memory, peer string) *relayed {
	t.Helper()
	config := translating(t)
	config.Memory, config.Peer = route, peer
	return start(t.Context(), t, config, 64<<10)
}

// close ends a session, and returns how it ended.
func (s *relayed) close() Result {
	s.down.Reset()
	s.up.Reset()
	return <-s.result
}

func lineOf(size int) []byte { return append(bytes.Repeat([]byte("x"), size), '\n') }

// passes sends a frame and returns how long it took to arrive.
func (s *relayed) passes(t *testing.T, size int) time.Duration {
	t.Helper()
	began := time.Now()
	go func() { _ = s.down.send(lineOf(size)) }()
	for left := size + 4; left > 0; {
		p := make([]byte, min(left, 32<<10))
		n, err := s.up.Read(func() []byte { return p }, func([]byte) {})
		if err != nil {
			t.Fatalf("a frame of %d bytes: %v", size, err)
		}
		left -= n
	}
	return time.Since(began)
}

// Peers that have sent only the beginnings of frames cost as much memory as they sent.
func TestIdlePeersLeaveMemory(t *testing.T) {
	const peers, each = 254, 70_000
	idle := func(t *testing.T, memory *Memory) []*relayed {
		route := memory.Route()
		var all []*relayed
		for i := range peers {
			s := startFor(t, route, fmt.Sprintf("10.0.0.%d", i))
			if err := s.down.send(bytes.Repeat([]byte("x"), each)); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		synctest.Wait()
		return all
	}
	t.Run("1 GiB", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(1<<30, 5*time.Second)
			all := idle(t, memory)
			if used, most := memory.Used(), int64(peers*3*step); used > most {
				t.Errorf("%d peers with %d bytes each are charged %d bytes, want at most %d", peers, each, used, most)
			} else {
				t.Logf("%d bytes are charged", used)
			}
			other := startFor(t, memory.Route(), "10.0.1.1")
			for _, size := range []int{100, 65_000, 70_000, 1 << 20} {
				if took := other.passes(t, size); took > 0 {
					t.Errorf("a frame of %d bytes waited %v", size, took)
				}
			}
			for _, s := range append(all, other) {
				if result := s.close(); result.Reason != Reset {
					t.Errorf("got %+v, want it to have gone on to its end", result)
				}
			}
			if used := memory.Used(); used != 0 {
				t.Errorf("%d bytes are still charged", used)
			}
		})
	})
	t.Run("as much as they hold", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(peers*2*step+1<<20, 5*time.Second)
			all := idle(t, memory)
			other := startFor(t, memory.Route(), "10.0.1.1")
			for _, size := range []int{100, 10_000, 70_000, 1 << 20} {
				if took := other.passes(t, size); took > 6*time.Second {
					t.Errorf("a frame of %d bytes waited %v", size, took)
				}
			}
			reasons := map[Reason]int{}
			for _, s := range all {
				reasons[s.close().Reason]++
			}
			if result := other.close(); result.Reason != Reset {
				t.Errorf("the other session: got %+v, want it to have gone on", result)
			}
			if ended := reasons[MemoryShort]; ended == 0 || ended > 40 || ended+reasons[Reset] != peers {
				t.Errorf("%v; want some, and no more than the frame of 1 MiB takes, to have ended (memory)", reasons)
			}
			t.Logf("%v", reasons)
			if used := memory.Used(); used != 0 {
				t.Errorf("%d bytes are still charged", used)
			}
		})
	})
}

// Floods towards receivers that never read close no other session, on the same route or another.
func TestFloodsHarmNobody(t *testing.T) {
	tests := []struct {
		name   string
		peers  int
		limit  int64
		sizes  []int // of the frames of the well-behaved senders
		waited time.Duration
	}{
		// The share of each peer is 1.6 MiB; a frame of 1 MiB needs up to 2 MiB.
		{"1 MiB frames", 40, 64 << 20, []int{100, 60_000, 100_000, 500_000}, 10 * time.Second},
		// The share of each peer is 128 KiB: senders of small frames get only their allowance.
		{"far too many", 200, 25 << 20, []int{100, 1000, 10_000, 20_000}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testFloods(t, tt.peers, tt.limit, tt.sizes, tt.waited) })
		})
	}
}

func testFloods(t *testing.T, peers int, size int64, sizes []int, mayWait time.Duration) {
	const innocents, frames = 4, 8
	memory := NewMemory(size, 5*time.Second)
	stuck, fine := memory.Route(), memory.Route()
	var flooding, good []*relayed
	for i := range peers {
		s := startFor(t, stuck, fmt.Sprintf("10.0.%d.1", i))
		go func() {
			for s.down.send(lineOf(1<<20-1)) == nil {
			}
		}()
		flooding = append(flooding, s)
	}
	for i := range innocents {
		good = append(good, startFor(t, []*Memory{stuck, fine}[i%2], fmt.Sprintf("10.1.%d.1", i)))
	}
	longest, most := time.Duration(0), int64(0)
	for i := range frames {
		for _, s := range good {
			longest = max(longest, s.passes(t, sizes[i%len(sizes)]))
			most = max(most, memory.Used())
		}
		time.Sleep(time.Second)
	}
	if limit := size + int64(peers+innocents)*2*allowance; most > limit {
		t.Errorf("%d bytes were charged, want at most %d", most, limit)
	}
	if longest > mayWait {
		t.Errorf("a frame waited %v, want at most %v", longest, mayWait)
	}
	for _, s := range good {
		if result := s.close(); result.Reason != Reset || result.Stats.ToUpstream.FramesOut != frames {
			t.Errorf("got %+v, want all frames to have arrived", result)
		}
	}
	reasons := map[Reason]int{}
	for _, s := range flooding {
		reasons[s.close().Reason]++
	}
	t.Logf("most charged %d, longest wait %v, the flooding: %v", most, longest, reasons)
	if reasons[MemoryShort] == 0 || reasons[MemoryShort] == peers {
		t.Errorf("the flooding: %v; want some to have ended, and some not", reasons)
	}
	if used := memory.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}

// Directions that each hold a part of a frame, and together need more memory than there is, don't block each other forever.
func TestLargeFramesDontBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 12
		memory := NewMemory(6<<20, 5*time.Second)
		route := memory.Route()
		var all []*relayed
		for i := range peers {
			s := startFor(t, route, fmt.Sprintf("10.0.0.%d", i))
			go func() { _, _ = s.up.receive() }()
			all = append(all, s)
			s.down.send(bytes.Repeat([]byte("x"), 300_000))
		}
		synctest.Wait()
		for i, s := range all {
			go func() { _ = s.down.send(lineOf(1<<20 - 300_001 - i)) }()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		through, ended := 0, 0
		for _, s := range all {
			arrived := s.Stats().ToUpstream.FramesOut
			result := s.close()
			switch {
			case result.Reason == MemoryShort:
				ended++
			case arrived == 1:
				through++
			default:
				t.Errorf("got %+v after a minute, want its frame to have arrived or its end", result)
			}
		}
		t.Logf("%d frames arrived, %d sessions ended", through, ended)
		if through < peers/2 {
			t.Errorf("%d frames arrived, %d sessions ended; want most to arrive", through, ended)
		}
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes are still charged", used)
		}
	})
}

// A sender of a hub that has waited too long for the memory of queues ends, and no other sender that waits for it.
func TestSendersOfAHubWaitEachForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(20*step, 5*time.Second)
		queued := m.open("", 0) // of all senders of a hub
		queued.must(2 * step)
		other := m.open("", 0)
		other.must(18 * step)
		wait := func() <-chan error {
			done := make(chan error, 1)
			go func() { done <- queued.acquire(t.Context(), step) }()
			synctest.Wait()
			return done
		}
		first := wait()
		time.Sleep(4900 * time.Millisecond)
		second := wait()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if len(first) != 1 || len(second) != 0 {
			t.Fatalf("the first: %d of 1 ended, the second: %d; want 1 and 0", len(first), len(second))
		}
		other.give(18 * step)
		if err := <-second; err != nil {
			t.Errorf("the second: got %v", err)
		}
	})
}

package relay

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
)

// A receiver that stops reading stops the sender and loses nothing, and the session's memory stays limited.
func TestBackpressure(t *testing.T) {
	tests := []struct {
		name    string
		payload int
		most    int64 // bytes between the links
	}{
		{"small frames", 100, 2 * maxHeapRead},
		{"frames larger than a read", 200 << 10, 6 * maxHeapRead},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := NewMemory(1<<30, time.Second)
				config := translating(t)
				config.Memory = memory
				s := start(t.Context(), t, config, 1<<20)
				frame := append(bytes.Repeat([]byte("x"), tt.payload), '\n')
				const total = 6 << 20
				all := bytes.Repeat(frame, total/len(frame))
				go func() {
					s.down.send(all)
					s.down.CloseWrite()
				}()
				synctest.Wait()
				stats := s.Stats().ToUpstream
				if between := stats.BytesRead - stats.BytesWritten; between > tt.most || stats.BytesRead == 0 {
					t.Errorf("%d bytes are between the links (%d read), want at most %d", between, stats.BytesRead, tt.most)
				}
				if used := memory.Used(); used > sessionMemory+6*maxHeapRead+2*FrameMemory(config.Downstream.Codec, config.Upstream.Codec) {
					t.Errorf("%d bytes of memory are charged", used)
				}
				got, err := s.up.receive()
				if want := len(all) / len(frame) * (tt.payload + 4); len(got) != want || err != nil {
					t.Errorf("got %d bytes, %v; want %d", len(got), err, want)
				}
				s.up.CloseWrite()
				if result := <-s.result; result.Reason != Fin {
					t.Errorf("got %+v, want fin", result)
				}
			})
		})
	}
}

// A frame without an end uses no more memory than one frame may, and ends only its own session.
func TestEndlessFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(1<<30, time.Second)
		config := translating(t)
		config.Memory = memory
		s := start(t.Context(), t, config, 1<<20)
		piece := bytes.Repeat([]byte("x"), 4096)
		sent, most := 0, int64(0)
		for s.down.send(piece) == nil {
			sent += len(piece)
			synctest.Wait()
			most = max(most, memory.Used())
		}
		if limit := sessionMemory + 4*maxHeapRead + FrameMemory(config.Downstream.Codec, config.Upstream.Codec); most > limit {
			t.Errorf("charged %d bytes, want at most %d", most, limit)
		}
		if sent > 1<<20+1<<16 {
			t.Errorf("%d bytes were accepted, for frames of at most %d", sent, 1<<20)
		}
		if result := <-s.result; result.Reason != Violated {
			t.Errorf("got %+v, want violation", result)
		}
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// A frame that only announces its length, and a frame that arrives in many small reads, use at most twice as much memory as has
// arrived.
func TestAnnouncedLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(1<<30, time.Second)
		config := translating(t)
		config.Memory = memory
		s := start(t.Context(), t, config, 1<<20)
		s.up.send([]byte("\x00\x0f\xff\xff12345678"))
		synctest.Wait()
		if used := memory.Used(); used > sessionMemory {
			t.Errorf("an announced length costs %d bytes", used)
		}
		s.up.Reset()
		<-s.result
	})
}

func TestIdleHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(1<<30, time.Second)
		config := translating(t)
		config.Memory = memory
		s := start(t.Context(), t, config, 1<<20)
		go s.down.send(bytes.Repeat([]byte("hello\n"), 300_000))
		go func() { s.up.receive(); s.up.CloseWrite() }()
		synctest.Wait()
		if got := s.Stats().ToUpstream.FramesOut; got != 300_000 {
			t.Errorf("%d frames arrived", got)
		}
		for _, f := range s.flows {
			if f.inbox.buf != nil || f.inbox.incoming != nil {
				t.Errorf("%s: an idle session holds a buffer", f.direction)
			}
		}
		if used := memory.Used(); used != sessionMemory {
			t.Errorf("an idle session is charged %d bytes, want %d", used, sessionMemory)
		}
		s.down.CloseWrite()
		<-s.result
	})
}

func TestMemoryRunsShort(t *testing.T) {
	config := func(t *testing.T, memory *Memory) Config {
		c := translating(t)
		c.Memory = memory
		return c
	}
	t.Run("small frames get through", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(1, time.Second)
			s := start(t.Context(), t, config(t, memory), 1<<20)
			all := bytes.Repeat([]byte("some small frame\n"), 10_000)
			go func() { s.down.send(all); s.down.CloseWrite() }()
			s.up.CloseWrite()
			if got, err := s.up.receive(); len(got) != 10_000*20 || err != nil {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if result := <-s.result; result.Reason != Fin {
				t.Errorf("got %+v, want fin", result)
			}
		})
	})
	t.Run("a large frame waits, and ends its session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(600<<10, 10*time.Second) // less than the two buffers need while the frame is moved
			s := start(t.Context(), t, config(t, memory), 1<<20)
			go s.down.send(append(bytes.Repeat([]byte("x"), 500_000), '\n'))
			if result := <-s.result; result.Reason != MemoryShort || result.Direction != ToUpstream {
				t.Errorf("got %+v, want memory", result)
			}
			if _, err := s.up.receive(); !errors.Is(err, errReset) {
				t.Errorf("upstream got %v, want a reset", err)
			}
		})
	})
	t.Run("a large frame waits for another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(1250<<10, 10*time.Second) // one frame needs 512 KiB when it arrives, and 400 KB when it leaves
			large := append(bytes.Repeat([]byte("x"), 400_000), '\n')
			one, other := start(t.Context(), t, config(t, memory), 1<<20), start(t.Context(), t, config(t, memory), 1<<20)
			one.down.send(large[:300_000])
			synctest.Wait()
			go other.down.send(large)
			time.Sleep(4 * time.Second)
			one.down.send(large[300_000:])
			synctest.Wait()
			for _, s := range []*relayed{one, other} {
				if got := s.Stats().ToUpstream.FramesOut; got != 1 {
					t.Errorf("%d large frames arrived, want 1", got)
				}
				s.down.CloseWrite()
				s.up.CloseWrite()
				<-s.result
			}
		})
	})
	t.Run("a session starts at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(sessionMemory, 10*time.Second)
			one := start(t.Context(), t, config(t, memory), 1<<20)
			synctest.Wait()
			other := start(t.Context(), t, config(t, memory), 1<<20)
			synctest.Wait()
			for _, s := range []*relayed{one, other} {
				s.down.send(append(bytes.Repeat([]byte("x"), 20_000), '\n'))
				synctest.Wait()
				if got := s.Stats().ToUpstream.FramesOut; got != 1 {
					t.Errorf("%d frames arrived, want 1", got)
				}
			}
			if used := memory.Used(); used != 2*sessionMemory {
				t.Errorf("%d bytes are charged, want %d", used, 2*sessionMemory)
			}
			one.down.Reset()
			other.down.Reset()
			<-one.result
			<-other.result
		})
	})
}

// The work for a frame of any length is proportional to its bytes, however reads cut it.
func TestLargeFramesAreLinear(t *testing.T) {
	var in inbox
	in.most = 16<<20 + 1
	moved := 0
	for n := 0; n < 16<<20; {
		before := in.buf
		p := in.grab()
		piece := min(len(p), 1460)
		in.took(piece)
		if in.buf != before {
			moved += n
		}
		n += piece
		before = in.buf
		if err := in.compactOrGrow(t.Context()); err != nil {
			t.Fatal(err)
		}
		if in.buf != before {
			moved += n
		}
		if in.len() != n {
			t.Fatalf("%d bytes are there, want %d", in.len(), n)
		}
	}
	if moved > 3*16<<20 {
		t.Errorf("%d bytes moved for a frame of %d", moved, 16<<20)
	}
}

// More payloads than one call may carry.
func TestVeryManyVeryShortFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 3*codecs.MaxPayloads + 7
		memory := NewMemory(1<<30, time.Second)
		config := translating(t)
		config.Memory = memory
		s := start(t.Context(), t, config, count)
		s.down.send(bytes.Repeat([]byte("\n"), count))
		s.down.CloseWrite()
		s.up.CloseWrite()
		got, err := s.up.receive()
		if len(got) != 4*count || err != nil {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, 4*count)
		}
		if result := <-s.result; result.Reason != Fin || result.Stats.ToUpstream.FramesOut != count || memory.Used() != 0 {
			t.Errorf("got %+v, want fin with %d frames; %d bytes are still in use", result, count, memory.Used())
		}
	})
}

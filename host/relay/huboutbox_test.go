package relay

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// boxed adds an outbox to h, and returns the configuration of its members.
func boxed(t *testing.T, h *Hub, q Queue) StreamMember {
	t.Helper()
	config := with(codec(t, lines{}, 1000))
	var err error
	if config.Outbox, err = h.Outbox(OutboxConfig{Codec: config.Codec, Queue: q}); err != nil {
		t.Fatal(err)
	}
	return config
}

// Frames wait for a connection, and for the next one when it breaks. A frame that was written in part is written again, whole.
func TestOutboxOutlastsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		config := boxed(t, h, Queue{})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		synctest.Wait()
		sender.send([]byte(numbered(0, 3)))
		synctest.Wait()
		if stats := config.Outbox.Stats(); stats.QueuedFrames != 3 || stats.QueuedBytes != 300 || config.Outbox.Connected() {
			t.Errorf("got %+v, want 3 frames to wait", stats)
		}
		first := join(t, h, config, 150)
		synctest.Wait()
		sender.send([]byte(numbered(3, 6)))
		synctest.Wait()
		first.Reset()
		if result := <-first.result; result.Stats.FramesOut != 1 {
			t.Errorf("%d frames were written, want 1 and a part of the next", result.Stats.FramesOut)
		}
		sender.send([]byte(numbered(6, 8)))
		synctest.Wait()
		if stats := config.Outbox.Stats(); stats.QueuedFrames != 7 || stats.DroppedFrames != 0 {
			t.Errorf("got %+v, want 7 frames to wait", stats)
		}
		second := join(t, h, config, 1<<20)
		synctest.Wait()
		drain(h, sender, second)
		if got := second.text(t); got != numbered(1, 8) {
			t.Errorf("the second connection got %q", got)
		}
		sender.ended(t, Drained)
		second.ended(t, Drained)
		config.Outbox.Close()
		if stats := h.Stats(); stats.DroppedFrames != 0 || stats.FramesOut != 8 {
			t.Errorf("got %+v, want 8 frames sent and none dropped", stats)
		}
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// The policies of a queue whose receiver has no connection. Queues never hold more than two frames.
func TestOutboxPolicies(t *testing.T) {
	tests := []struct {
		policy  QueuePolicy
		want    string
		dropped int64
	}{
		{DropOldest, numbered(3, 5), 3},
		{DropNewest, numbered(0, 2), 3},
		{Disconnect, numbered(4, 5), 4},
		{Block, numbered(0, 5), 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := NewMemory(64<<20, time.Minute)
				h := NewHub(memory)
				config := boxed(t, h, Queue{Frames: 2, Policy: tt.policy})
				sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
				synctest.Wait()
				sender.send([]byte(numbered(0, 5)))
				synctest.Wait()
				if stats := config.Outbox.Stats(); stats.DroppedFrames != tt.dropped || stats.QueuedFrames > 2 {
					t.Errorf("got %+v, want %d frames dropped", stats, tt.dropped)
				}
				receiver := join(t, h, config, 1<<20)
				synctest.Wait()
				drain(h, sender, receiver)
				if got := receiver.text(t); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				sender.ended(t, Drained)
				receiver.ended(t, Drained)
				config.Outbox.Close()
				if used := memory.Used(); used != 0 {
					t.Errorf("%d bytes of memory are still in use", used)
				}
			})
		})
	}
}

// With the policy disconnect no stream has a gap: the frames that a slow receiver left are dropped, and the next connection begins
// with later frames.
func TestOutboxOfASlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := boxed(t, h, Queue{Frames: 2, Policy: Disconnect})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		slow := join(t, h, config, 150)
		synctest.Wait()
		sender.send([]byte(numbered(0, 2)))
		synctest.Wait()
		sender.send([]byte(numbered(2, 5)))
		slow.ended(t, SlowReceiver)
		synctest.Wait()
		sender.send([]byte(numbered(5, 6)))
		synctest.Wait()
		next := join(t, h, config, 1<<20)
		synctest.Wait()
		drain(h, sender, next)
		if got := next.text(t); got != numbered(5, 6) {
			t.Errorf("got %q, want only what came later", got)
		}
		if stats := config.Outbox.Stats(); stats.DroppedFrames != 4 {
			t.Errorf("got %d frames dropped, want 4: one of 5 was written", stats.DroppedFrames)
		}
		sender.ended(t, Drained)
		next.ended(t, Drained)
	})
}

// A silent link accepts all bytes, and breaks when the peer's kernel should acknowledge them.
type silentLink struct{ Link }

func (l silentLink) Flush(context.Context) error { return errReset }

// A peer that has ended its direction may be gone. Frames that are then written to it, and not acknowledged, are written again.
func TestOutboxOfAPeerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := boxed(t, h, Queue{})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		ours, gone := connected(1 << 20)
		config.Link, config.Classify = silentLink{ours}, classify
		m, err := h.Stream(config)
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan MemberResult)
		go func() { result <- m.Run(t.Context()) }()
		synctest.Wait()
		sender.send([]byte(numbered(0, 1)))
		synctest.Wait()
		_ = gone.CloseWrite()
		synctest.Wait()
		sender.send([]byte(numbered(1, 2)))
		if got := <-result; got.Reason != Reset || got.Stats.FramesOut != 1 {
			t.Errorf("got %+v, want a reset after one frame", got)
		}
		next := join(t, h, config, 1<<20)
		synctest.Wait()
		drain(h, sender, next)
		if got := next.text(t); got != numbered(1, 2) {
			t.Errorf("got %q, want the frame that was not acknowledged", got)
		}
		sender.ended(t, Drained)
		next.ended(t, Drained)
	})
}

// Frames that are left in an outbox at its end are counted, and charged until then.
func TestOutboxIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		config := boxed(t, h, Queue{Bytes: 1 << 20})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		synctest.Wait()
		sender.send([]byte(strings.Repeat(numbered(0, 1), 1000)))
		synctest.Wait()
		drain(h, sender)
		sender.ended(t, Drained)
		if used := memory.Used(); used < 100_000 {
			t.Errorf("%d bytes are charged, want 100,000 at least", used)
		}
		config.Outbox.Close()
		config.Outbox.Close()
		if stats := h.Stats(); stats.DroppedFrames != 1000 || memory.Used() != 0 {
			t.Errorf("got %d frames dropped and %d bytes in use, want 1000 and 0", stats.DroppedFrames, memory.Used())
		}
	})
}

// Frames that were encoded for an outbox and found no memory for their queue are counted, as those that were not encoded are.
func TestOutboxCountsWhatFindsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		memory := NewMemory(size, time.Minute)
		h := NewHub(memory)
		config := boxed(t, h, Queue{})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		synctest.Wait()
		other := memory.open("", 0)
		other.must(size)
		go sender.send([]byte(strings.Repeat(numbered(0, 1), 10_000)))
		got := sender.ended(t, MemoryShort).Stats
		box := config.Outbox.Stats()
		if box.Starved == 0 || got.FramesIn != int64(box.QueuedFrames)+box.DroppedFrames+box.Starved {
			t.Errorf("of %d frames %d wait, %d were dropped and %d starved", got.FramesIn, box.QueuedFrames, box.DroppedFrames, box.Starved)
		}
		other.give(size)
		other.close()
		config.Outbox.Close()
	})
}

// deaf is a link whose peer acknowledges nothing.
type deaf struct{ Link }

func (deaf) Flush(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// A peer that has ended its direction and then acknowledges nothing delays the senders for the patience, and no longer.
func TestSendersDoNotWaitForAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		h.Patience = 100 * time.Millisecond
		config := boxed(t, h, Queue{Frames: 3})
		ours, theirs := connected(1 << 20)
		config.Link = deaf{ours}
		m, err := h.Stream(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { m.Run(ctx) })
		defer running.Wait()
		defer cancel()
		sender, quick := join(t, h, with(codec(t, lines{}, 1000)), 1<<20), join(t, h, with(codec(t, lines{}, 1000)), 1<<20)
		_ = theirs.CloseWrite()
		for _, part := range [][2]int{{0, 1}, {1, 11}, {11, 21}} {
			synctest.Wait()
			sender.send([]byte(numbered(part[0], part[1])))
		}
		time.Sleep(5 * h.Patience)
		if got := quick.in.len(); got != 2100 {
			t.Errorf("another receiver got %d bytes, want all 2100", got)
		}
		cancel()
		sender.member.end(Fin, nil, Neither)
		quick.member.end(Fin, nil, Neither)
	})
}

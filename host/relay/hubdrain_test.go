package relay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// While a hub drains its members go on; a second after the last byte, when all is written, peers see a clean end.
func TestHubDrainWaitsForRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		c := codec(t, lines{}, 1000)
		sender, receiver := join(t, h, with(c), 1000), join(t, h, with(c), 1000)
		synctest.Wait()
		h.Drain(Drained)
		h.Drain(IdleTimeout) // the first counts
		late := join(t, h, with(c), 1000)
		late.ended(t, Drained)
		for range 5 {
			time.Sleep(quietTime - time.Millisecond)
			sender.send([]byte("hi\n"))
		}
		sender.send([]byte("h")) // an unfinished frame
		time.Sleep(3 * quietTime)
		began := time.Now()
		sender.send([]byte("o\n"))
		go sender.CloseWriteAtEnd()
		go receiver.CloseWriteAtEnd()
		if got := receiver.text(t); got != strings.Repeat("hi\n", 5)+"ho\n" {
			t.Errorf("got %q", got)
		}
		if took := time.Since(began); took < quietTime || took > quietTime+restTime {
			t.Errorf("ended %v after the last byte, want %v", took, quietTime)
		}
		sender.ended(t, Drained)
		receiver.ended(t, Drained)
	})
}

// CloseWriteAtEnd ends the peer's direction once it has seen the end of ours.
func (p *peer) CloseWriteAtEnd() {
	p.in.mu.Lock()
	for !p.in.ended && p.in.broken == nil {
		p.in.change.Wait()
	}
	p.in.mu.Unlock()
	_ = p.CloseWrite()
}

// A receiver that has not taken everything holds up the end of a hub, and so does an outbox without a connection.
func TestHubDrainWaitsForQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := boxed(t, h, Queue{})
		c := codec(t, lines{}, 1000)
		sender, slow := join(t, h, with(c), 1<<20), join(t, h, with(c), 100)
		synctest.Wait()
		sender.send([]byte(numbered(0, 3)))
		synctest.Wait()
		h.Drain(Drained)
		time.Sleep(time.Minute)
		select {
		case <-h.Ended():
			t.Error("the hub ended, though frames wait")
		default:
		}
		go sender.CloseWriteAtEnd()
		got := make(chan string, 2)
		go func() { got <- slow.text(t) }()
		time.Sleep(time.Minute)
		boxed := join(t, h, config, 1<<20)
		go boxed.CloseWriteAtEnd()
		go func() { got <- boxed.text(t) }()
		go slow.CloseWriteAtEnd()
		for range 2 {
			if got := <-got; got != numbered(0, 3) {
				t.Errorf("got %q, want 3 frames", got)
			}
		}
		for _, p := range []*peer{sender, slow, boxed} {
			p.ended(t, Drained)
		}
	})
}

// What a drain cuts is reset on all sides, and what was not delivered is counted for each.
func TestHubDrainIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		box := boxed(t, h, Queue{})
		c := codec(t, lines{}, 1000)
		ctx, cancel := context.WithCancelCause(t.Context())
		run := func(limit int) (*link, chan MemberResult) {
			config := with(c)
			ours, peers := connected(limit)
			config.Link = ours
			m, err := h.Stream(config)
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan MemberResult, 1)
			go func() { result <- m.Run(ctx) }()
			return peers, result
		}
		sender, senderResult := run(1 << 20)
		slow, slowResult := run(150)
		synctest.Wait()
		sender.send([]byte(numbered(0, 5) + "unfinished"))
		synctest.Wait()
		h.Drain(Drained)
		time.Sleep(time.Minute)
		cancel(DrainTimeout)
		if got := <-senderResult; got.Reason != DrainTimeout || got.Stats.BytesNotDelivered != 10 {
			t.Errorf("sender: got %+v, want drain_timeout and 10 bytes not delivered", got)
		}
		if got := <-slowResult; got.Reason != DrainTimeout || got.Stats.FramesNotDelivered != 4 || got.Stats.BytesNotDelivered != 400 {
			t.Errorf("slow receiver: got %+v, want drain_timeout and 4 frames, 400 bytes not delivered", got)
		}
		for _, peer := range []*link{sender, slow} {
			if _, err := peer.receive(); !errors.Is(err, errReset) {
				t.Errorf("got %v, want a reset", err)
			}
		}
		box.Outbox.Close()
		if got := h.Stats(); got.FramesNotDelivered != 4+5 || got.DroppedFrames != 9 {
			t.Errorf("got %+v, want 9 frames not delivered in all", got)
		}
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// A sender that goes on after the end sees a reset, for what it sent then arrives nowhere.
func TestHubDrainResetsWhoSendsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		p := join(t, h, with(codec(t, lines{}, 1000)), 1000)
		synctest.Wait()
		h.Drain(Drained)
		<-h.Ended()
		synctest.Wait()
		p.send([]byte("too late\n"))
		p.ended(t, Drained)
		if _, err := p.Write([]byte("x")); !errors.Is(err, errReset) && !errors.Is(err, errClosed) {
			t.Errorf("got %v, want a broken connection", err)
		}
	})
}

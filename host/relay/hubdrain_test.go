package relay

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// While a hub drains, its members go on. One second after the last byte, when everything is written, the peers see a clean end.
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

// A member whose peer saw a clean end ends as drained, even if the time for the drain is over before the peer has ended too.
func TestHubDrainEndsWhileItLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		p := joinUntil(ctx, t, h, with(codec(t, lines{}, 1000)), 1000)
		time.Sleep(time.Minute)
		h.Drain(Drained)
		if got := p.text(t); got != "" {
			t.Errorf("got %q, want a clean end alone", got)
		}
		cancel(DrainTimeout)
		p.ended(t, Drained)
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

// A receiver with frames in its queue delays the end of a hub, and so does an outbox without a connection.
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

// When a drain cuts a hub, all peers are reset, and for each of them the frames that were not delivered are counted.
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

// A sender that goes on after the end sees a reset, since these bytes are not delivered.
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

// A member that is drained goes on until it rests, and then its peer sees a clean end. The hub and its other members go on.
func TestHubMemberDrainWaitsForRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		c := codec(t, lines{}, 1000)
		one, other := join(t, h, with(c), 10_000), join(t, h, with(c), 10_000)
		synctest.Wait()
		one.member.Drain(Drained)
		one.member.Drain(IdleTimeout) // the first counts
		for range 5 {
			time.Sleep(quietTime - time.Millisecond)
			one.send([]byte("from one\n"))
			other.send([]byte("to one\n"))
		}
		one.send([]byte("fro")) // an unfinished frame
		time.Sleep(3 * quietTime)
		began := time.Now()
		one.send([]byte("m one\n"))
		go one.CloseWriteAtEnd()
		if got := one.text(t); got != strings.Repeat("to one\n", 5) {
			t.Errorf("the drained member was sent %q", got)
		}
		if took := time.Since(began); took < quietTime || took > quietTime+restTime {
			t.Errorf("ended %v after the last byte, want %v", took, quietTime)
		}
		one.ended(t, Drained)
		third := join(t, h, with(c), 1000)
		synctest.Wait()
		third.send([]byte("from a new one\n"))
		synctest.Wait()
		drain(h, other, third)
		if got, want := other.text(t), strings.Repeat("from one\n", 6)+"from a new one\n"; got != want {
			t.Errorf("the other member was sent %q, want %q", got, want)
		}
		other.ended(t, Drained)
		third.ended(t, Drained)
	})
}

// A drained member that only receives does not wait until the others are quiet: it ends after a whole frame. An outbox keeps later
// frames for its next member.
func TestHubMemberDrainOfListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := boxed(t, h, Queue{})
		sender := join(t, h, with(codec(t, lines{}, 1000)), 10_000)
		first := join(t, h, config, 10_000)
		synctest.Wait()
		for i := range 4 {
			sender.send([]byte(numbered(i, i+1)))
			if i == 1 {
				first.member.Drain(Drained)
				go first.CloseWriteAtEnd()
			}
			time.Sleep(quietTime * 3 / 4)
		}
		before := first.text(t)
		if n := strings.Count(before, "\n"); n < 2 || n > 3 {
			t.Errorf("the first member was sent %d frames, want those of a second and a half", n)
		}
		first.ended(t, Drained)
		second := join(t, h, config, 10_000)
		synctest.Wait()
		drain(h, sender, second)
		if got := before + second.text(t); got != numbered(0, 4) {
			t.Errorf("got %q in all, want each frame once", got)
		}
		sender.ended(t, Drained)
		second.ended(t, Drained)
	})
}

// If a member does not rest in time, only that member is cut, and the frames in its queue count as not delivered.
func TestHubMemberDrainIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		c := codec(t, lines{}, 1000)
		sender := join(t, h, with(c), 1<<20)
		config := with(c)
		ours, slow := connected(150)
		config.Link = ours
		m, err := h.Stream(config)
		if err != nil {
			t.Fatal(err)
		}
		m.Drain(Drained) // before it runs
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan MemberResult, 1)
		go func() { result <- m.Run(ctx) }()
		synctest.Wait()
		sender.send([]byte(numbered(0, 5)))
		time.Sleep(time.Minute)
		cancel(DrainTimeout)
		if got := <-result; got.Reason != DrainTimeout || got.Stats.FramesNotDelivered != 4 || got.Stats.BytesNotDelivered != 400 {
			t.Errorf("got %+v, want drain_timeout and 4 frames, 400 bytes not delivered", got)
		}
		if _, err := slow.receive(); !errors.Is(err, errReset) {
			t.Errorf("got %v, want a reset", err)
		}
		drain(h, sender)
		if got := sender.text(t); got != "" {
			t.Errorf("the sender was sent %q", got)
		}
		sender.ended(t, Drained)
	})
}

// Unread bytes delay the end of a hub and of a member.
func TestHubDrainWaitsForTheUnread(t *testing.T) {
	for _, drain := range []func(h *Hub, m *Member){
		func(h *Hub, _ *Member) { h.Drain(Drained) },
		func(_ *Hub, m *Member) { m.Drain(Drained) },
	} {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(1<<20, time.Hour)
			h := NewHub(memory)
			c := codec(t, lines{}, 1000)
			config := with(c)
			ours, theirs := connected(1000)
			full := &unreadLink{Link: ours}
			config.Link = full
			m, err := h.Stream(config)
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan MemberResult, 1)
			go func() { result <- m.Run(t.Context()) }()
			synctest.Wait()
			full.unread.Store(1)
			drain(h, m)
			time.Sleep(time.Minute)
			if m.drained() {
				t.Error("the member ended, though something lies unread")
			}
			full.unread.Store(0)
			go (&peer{link: theirs}).CloseWriteAtEnd()
			if got := <-result; got.Reason != Drained {
				t.Errorf("got %+v, want drained", got)
			}
		})
	}
}

// An unreadLink reports unread bytes that its reader does not get.
type unreadLink struct {
	Link
	unread atomic.Int32
}

func (l *unreadLink) Readable() (int, error) { return int(l.unread.Load()), nil }

// A member that the hub only sends to may say what it likes while it lingers: nothing of that would have been relayed.
func TestHubEndsCleanlyForOneThatOnlyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := with(codec(t, lines{}, 100))
		config.Use = SendOnly
		p := join(t, h, config, 1<<10)
		synctest.Wait()
		h.End(Drained)
		synctest.Wait()
		p.send([]byte("x"))
		p.ended(t, Drained)
		if errors.Is(p.in.broken, errReset) {
			t.Error("the peer was reset")
		}
	})
}

package relay

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// numbered returns frames of 100 bytes.
func numbered(from, to int) string {
	var all strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&all, "%099d\n", i)
	}
	return all.String()
}

// A sender sends more at once than a receiver's queue holds, and the receiver's connection is full.
func TestHubWaitsForReceivers(t *testing.T) {
	const patience = 100 * time.Millisecond
	for _, policy := range []QueuePolicy{DropOldest, DropNewest, Disconnect, Block} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := NewMemory(64<<20, time.Minute)
				h := NewHub(memory)
				h.Patience = patience
				c := codec(t, lines{}, 1000)
				slowly := with(c)
				slowly.Queue = Queue{Frames: 3, Policy: policy}
				slow, quick, sender := join(t, h, slowly, 1<<20), join(t, h, with(c), 1<<20), join(t, h, with(c), 1<<20)
				slow.in.limit = 100
				synctest.Wait()
				sender.send([]byte(numbered(0, 10)))
				time.Sleep(patience - time.Nanosecond)
				synctest.Wait()
				if got := quick.in.len(); got != 1000 {
					t.Errorf("the quick one got %d bytes at once, want 1000", got)
				}
				// The receiver reads a frame just in time. So the sender waits for it that long again, and it gets everything.
				got := make(chan string)
				go func() {
					first := make([]byte, 100)
					_, _ = slow.Read(func() []byte { return first }, func([]byte) {})
					time.Sleep(patience - time.Nanosecond)
					got <- string(first) + slow.text(t)
				}()
				time.Sleep(patience)
				synctest.Wait()
				drain(h, sender, slow, quick)
				if got := <-got; got != numbered(0, 10) {
					t.Errorf("the slow one got %d bytes, want 1000", len(got))
				}
				if result := slow.ended(t, Drained); result.Stats.DroppedFrames != 0 {
					t.Errorf("got %d frames dropped, want none", result.Stats.DroppedFrames)
				}
				quick.ended(t, Drained)
				sender.ended(t, Drained)
				if used := memory.Used(); used != 0 {
					t.Errorf("%d bytes of memory are still in use", used)
				}
			})
		})
	}
}

// A sender waits once for a receiver that reads nothing, and not again until the receiver has caught up.
func TestHubWaitsOnceForAReceiverThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		h.Patience = 100 * time.Millisecond
		c := codec(t, lines{}, 1000)
		slowly := with(c)
		slowly.Queue = Queue{Frames: 3}
		slow, quick, sender := join(t, h, slowly, 1<<20), join(t, h, with(c), 1<<20), join(t, h, with(c), 1<<20)
		slow.in.limit = 100
		synctest.Wait()
		began := time.Now()
		arrived := func(frames int) {
			t.Helper()
			for synctest.Wait(); quick.in.len() < 100*frames; synctest.Wait() {
				time.Sleep(time.Millisecond)
			}
		}
		at := 0
		flood := func() {
			t.Helper()
			for range 50 {
				sender.send([]byte(numbered(at, at+10)))
				at += 10
				arrived(at)
			}
		}
		flood()
		if took := time.Since(began); took < h.Patience || took > h.Patience+2*recheckInterval {
			t.Errorf("50 batches took %v, want one wait of %v", took, h.Patience)
		}
		if got := slow.member.Stats(); got.DroppedFrames == 0 || got.QueuedFrames != 3 {
			t.Errorf("got %+v, want the queue full and frames dropped", got)
		}
		began = time.Now()
		flood()
		if took := time.Since(began); took != 0 {
			t.Errorf("50 batches took %v, want no wait for a receiver that has fallen behind", took)
		}
		text := make(chan string)
		go func() { text <- slow.text(t) }() // the receiver catches up
		time.Sleep(time.Millisecond)
		before := slow.member.Stats().DroppedFrames
		flood()
		drain(h, sender, slow, quick)
		if got := <-text; !strings.HasSuffix(got, numbered(500+500, at)) {
			t.Errorf("got %d bytes, want all of what came after it had caught up", len(got))
		}
		if result := slow.ended(t, Drained); result.Stats.DroppedFrames != before {
			t.Errorf("got %d frames dropped after it had caught up, want none", result.Stats.DroppedFrames-before)
		}
		quick.ended(t, Drained)
		sender.ended(t, Drained)
	})
}

// However many receivers read a little now and then, they delay a sender for a limited time.
func TestHubDoesNotWaitForSlowReceivers(t *testing.T) {
	for _, slows := range []int{1, 20} {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			h.Patience = 100 * time.Millisecond
			c := codec(t, lines{}, 1000)
			quick, sender := join(t, h, with(c), 1<<20), join(t, h, with(c), 1<<20)
			peers := []*peer{quick, sender}
			var reading sync.WaitGroup
			for range slows {
				slowly := with(c)
				slowly.Queue = Queue{Frames: 3}
				p := join(t, h, slowly, 1<<20)
				p.in.limit = 100
				peers = append(peers, p)
				reading.Go(func() { // 10 frames a second
					frame := make([]byte, 100)
					for err := error(nil); err == nil; {
						time.Sleep(90 * time.Millisecond)
						_, err = p.Read(func() []byte { return frame }, func([]byte) {})
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			for i := range 100 {
				sender.send([]byte(numbered(i*100, i*100+100)))
				for synctest.Wait(); quick.in.len() < 10_000*(i+1); synctest.Wait() {
					time.Sleep(time.Millisecond)
				}
			}
			if took, most := time.Since(began), burst*h.Patience+2*recheckInterval; took > most {
				t.Errorf("%d slow ones: 10,000 frames took %v, want at most %v", slows, took, most)
			}
			for _, p := range peers {
				if p.member.Stats().DroppedFrames == 0 && p != quick && p != sender {
					t.Error("a slow receiver lost nothing, want frames dropped")
				}
			}
			drain(h, peers...)
			if got := quick.text(t); got != numbered(0, 10_000) {
				t.Errorf("the quick one got %d bytes, want all", len(got))
			}
			for _, p := range peers {
				<-p.result
			}
			reading.Wait()
		})
	}
}

// When a sender is over, the frames that it had not queued yet are dropped and counted.
func TestHubCountsWhatAnEndedSenderHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		c := codec(t, lines{}, 1000)
		blocking := with(c)
		blocking.Queue = Queue{Frames: 1, Policy: Block}
		slow, sender := join(t, h, blocking, 1<<20), join(t, h, with(c), 1<<20)
		slow.in.limit = 1
		synctest.Wait()
		sender.send(bytes.Repeat([]byte("hi\n"), 10))
		synctest.Wait()
		sender.send(bytes.Repeat([]byte("ho\n"), 10))
		synctest.Wait()
		sender.member.end(IdleTimeout, nil, Neither)
		sender.ended(t, IdleTimeout)
		if got := slow.member.Stats(); got.DroppedFrames != 9 || got.QueuedFrames != 1 {
			t.Errorf("got %+v, want 9 frames dropped and 1 queued", got)
		}
		slow.Close()
		slow.ended(t, IOError)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

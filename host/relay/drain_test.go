package relay

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
)

// expectCleanEnd fails the test unless a peer receives want and then a clean end.
func expectCleanEnd(t *testing.T, who string, peer *link, want string) {
	t.Helper()
	if got, err := peer.receive(); string(got) != want || err != nil {
		t.Errorf("%s got %q, %v; want %q and a clean end", who, got, err, want)
	}
}

// expectReset fails the test unless a peer receives want and then a reset, and sending fails as well.
func expectReset(t *testing.T, who string, peer *link, want string) {
	t.Helper()
	got, err := peer.receive()
	if string(got) != want || !errors.Is(err, errReset) {
		t.Errorf("%s got %q, %v; want %q and a reset", who, got, err, want)
	}
	if err := peer.send([]byte("x")); !errors.Is(err, errReset) && !errors.Is(err, errClosed) {
		t.Errorf("%s sent, and got %v; want an error", who, err)
	}
}

func TestDrainEndsWell(t *testing.T) {
	tests := []struct {
		name     string
		raw      bool
		do       func(s *relayed) // after Drain
		up, down string           // the bytes that the peers get
		after    time.Duration    // the time from Drain to their ends
	}{
		{name: "nothing has come for longer"},
		{name: "something came a moment ago", do: func(s *relayed) { s.down.send([]byte("hi\n")) },
			up: "\x00\x00\x00\x02hi", after: time.Second},
		{name: "unframed, something came a moment ago", raw: true, do: func(s *relayed) { s.down.send([]byte("hi")) },
			up: "hi", after: time.Second},
		{name: "an answer comes before the second has passed", do: func(s *relayed) {
			s.down.send([]byte("hi\n"))
			time.Sleep(900 * time.Millisecond)
			s.up.send([]byte("\x00\x00\x00\x02ho"))
		}, up: "\x00\x00\x00\x02hi", down: "ho\n", after: 1900 * time.Millisecond},
		{name: "a frame ends late", do: func(s *relayed) {
			s.down.send([]byte("hi"))
			time.Sleep(10 * time.Second)
			s.down.send([]byte("\n"))
		}, up: "\x00\x00\x00\x02hi", after: 11 * time.Second},
		{name: "one side has ended, and the other is silent", do: func(s *relayed) {
			s.down.send([]byte("hi\n"))
			s.down.CloseWrite()
		}, up: "\x00\x00\x00\x02hi", after: time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := translating(t)
				if test.raw {
					config = Config{}
				}
				s := start(t.Context(), t, config, 1<<10)
				time.Sleep(time.Minute)
				began := time.Now()
				if test.do != nil {
					go test.do(s)
					synctest.Wait()
				}
				s.Drain()
				s.Drain()
				expectCleanEnd(t, "upstream", s.up, test.up)
				expectCleanEnd(t, "downstream", s.down, test.down)
				if took := time.Since(began); took != test.after {
					t.Errorf("the ends came after %v, want %v", took, test.after)
				}
				s.up.CloseWrite()
				s.down.CloseWrite()
				result := <-s.result
				if lost := result.Stats.ToUpstream.BytesNotDelivered; result.Reason != Drained || lost != 0 || time.Since(began) != test.after {
					t.Errorf("got %+v after %v, want drained with nothing lost", result, time.Since(began))
				}
			})
		})
	}
}

// Drain changes nothing for a session that ends by itself, however long it lasts.
func TestDrainLetsSessionsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t.Context(), t, translating(t), 1<<10)
		synctest.Wait()
		s.Drain()
		go func() {
			for range 8000 {
				s.down.send([]byte("0123456789\n"))
				time.Sleep(quietTime / 2)
			}
			s.down.CloseWrite()
			s.up.CloseWrite()
		}()
		got, err := s.up.receive()
		if len(got) != 8000*14 || err != nil {
			t.Errorf("upstream got %d bytes, %v; want %d and a clean end", len(got), err, 8000*14)
		}
		expectCleanEnd(t, "downstream", s.down, "")
		if result := <-s.result; result.Reason != Fin || result.Stats.ToUpstream.FramesOut != 8000 {
			t.Errorf("got %+v, want fin with 8000 frames", result)
		}
	})
}

// A session that ends cleanly, and has shown one peer the end, also shows it to the other peer if its context ends in between.
func TestDrainEndsBetweenTheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		config.Downstream.Codec = codec(t, slowEnd{}, 1000)
		ctx, cancel := context.WithCancelCause(t.Context())
		s := start(ctx, t, config, 1<<10)
		time.Sleep(time.Minute)
		s.Drain()
		time.Sleep(slowEndTime / 2)
		expectCleanEnd(t, "upstream", s.up, "")
		cancel(DrainTimeout)
		expectCleanEnd(t, "downstream", s.down, "")
		if result := <-s.result; result.Reason != Drained {
			t.Errorf("got %+v, want drained", result)
		}
	})
}

// slowEnd is like lines, with an encoder that takes long to end a stream.
type slowEnd struct{ lines }

const slowEndTime = cutTime / 2

func (slowEnd) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	if in.EOF {
		time.Sleep(slowEndTime)
	}
	return lines{}.Encode(out, in)
}

// A session that showed its peers a clean end ends after a while, even if the peers do not end.
func TestDrainLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t.Context(), t, translating(t), 1<<10)
		time.Sleep(time.Minute)
		began := time.Now()
		s.Drain()
		if result := <-s.result; result.Reason != Drained || time.Since(began) != lingerTime {
			t.Errorf("got %+v after %v, want drained after %v", result, time.Since(began), lingerTime)
		}
		expectCleanEnd(t, "upstream", s.up, "")
		expectCleanEnd(t, "downstream", s.down, "")
	})
}

// Bytes that arrive after the clean ends are not delivered: their sender is reset, and they are counted.
func TestDrainIsTooLateForBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t.Context(), t, translating(t), 1<<10)
		time.Sleep(time.Minute)
		s.Drain()
		expectCleanEnd(t, "upstream", s.up, "")
		expectCleanEnd(t, "downstream", s.down, "")
		s.down.send([]byte("too late\n"))
		result := <-s.result
		if lost := result.Stats.ToUpstream.BytesNotDelivered; result.Reason != Drained || lost != 9 {
			t.Errorf("got %+v, want drained with 9 bytes not delivered", result)
		}
		if err := s.down.send([]byte("x")); !errors.Is(err, errReset) && !errors.Is(err, errClosed) {
			t.Errorf("the late sender got %v, want an error", err)
		}
		if s.down.in.broken == nil {
			t.Error("the late sender was not reset")
		}
		if s.up.in.broken != nil {
			t.Errorf("the other peer got %v, want its clean end alone", s.up.in.broken)
		}
	})
}

// Bytes in a direction that is not relayed do not delay a drain, and do not count as lost.
func TestDrainOfAnUnusedDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		config.Upstream.Use = SendOnly
		s := start(t.Context(), t, config, 1<<10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s.up.send([]byte("chatter")) == nil {
				time.Sleep(quietTime / 10)
			}
		}()
		s.down.send([]byte("hi\n"))
		synctest.Wait()
		began := time.Now()
		s.Drain()
		expectCleanEnd(t, "upstream", s.up, "\x00\x00\x00\x02hi")
		if took := time.Since(began); took != quietTime {
			t.Errorf("the end came after %v, want %v", took, quietTime)
		}
		if result := <-s.result; result.Reason != Drained || result.Stats.ToDownstream.BytesNotDelivered != 0 {
			t.Errorf("got %+v, want drained with nothing lost", result)
		}
		<-done
	})
}

func TestCut(t *testing.T) {
	t.Run("inside a frame", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.down.send([]byte("hi\nho"))
			s.Drain()
			time.Sleep(time.Minute)
			began := time.Now()
			s.Cut()
			s.Cut()
			expectReset(t, "upstream", s.up, "\x00\x00\x00\x02hi")
			expectReset(t, "downstream", s.down, "")
			result := <-s.result
			if lost := result.Stats.ToUpstream; result.Reason != DrainTimeout || lost.FramesNotDelivered != 0 || lost.BytesNotDelivered != 2 {
				t.Errorf("got %+v, want drain_timeout with 2 bytes not delivered", result)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v, want no time", took)
			}
		})
	})
	t.Run("while a write blocks, and goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.up.in.limit = 3
			s.down.send([]byte("hi\nho\n"))
			synctest.Wait()
			s.down.send([]byte("not read"))
			s.Cut()
			time.Sleep(cutTime / 2)
			expectReset(t, "upstream", s.up, "\x00\x00\x00\x02hi\x00\x00\x00\x02ho")
			expectReset(t, "downstream", s.down, "")
			result := <-s.result
			if lost := result.Stats.ToUpstream; result.Reason != DrainTimeout || lost.FramesNotDelivered != 0 || lost.BytesNotDelivered != 8 {
				t.Errorf("got %+v, want drain_timeout with the 8 bytes that were not read", result)
			}
		})
	})
	t.Run("while a write blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.up.in.limit = 8
			s.down.send([]byte("hi\nho\nhello\n"))
			synctest.Wait()
			began := time.Now()
			s.Cut()
			result := <-s.result
			if took := time.Since(began); result.Reason != DrainTimeout || took != cutTime {
				t.Errorf("got %+v after %v, want drain_timeout after %v", result, took, cutTime)
			}
			// 8 of the 21 bytes were written: the first frame and a part of the second.
			lost := result.Stats.ToUpstream
			if lost.FramesOut != 1 || lost.FramesNotDelivered != 2 || lost.BytesNotDelivered != 7 {
				t.Errorf("got %+v, want 1 frame written, and 2 of 7 bytes not delivered", lost)
			}
			expectReset(t, "downstream", s.down, "")
		})
	})
	t.Run("after a clean end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			time.Sleep(time.Minute)
			s.Drain()
			synctest.Wait()
			s.Cut()
			if result := <-s.result; result.Reason != Drained {
				t.Errorf("got %+v, want drained", result)
			}
			expectCleanEnd(t, "upstream", s.up, "")
			expectCleanEnd(t, "downstream", s.down, "")
		})
	})
	t.Run("one side has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.down.CloseWrite()
			expectCleanEnd(t, "upstream", s.up, "")
			s.up.send([]byte("\x00\x00\x00\x02hi\x00"))
			synctest.Wait()
			s.Cut()
			expectReset(t, "downstream", s.down, "hi\n")
			if result := <-s.result; result.Reason != DrainTimeout || result.Stats.ToDownstream.BytesNotDelivered != 1 {
				t.Errorf("got %+v, want drain_timeout with a byte not delivered", result)
			}
			if err := s.up.send([]byte("x")); !errors.Is(err, errReset) && !errors.Is(err, errClosed) {
				t.Errorf("upstream sent, and got %v; want an error", err)
			}
		})
	})
	t.Run("before Run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			var down *link
			config.Downstream.Link, down = connected(100)
			config.Upstream.Link, _ = connected(100)
			s, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			down.send([]byte("hi\n"))
			s.Drain()
			s.Cut()
			if result := s.Run(t.Context()); result.Reason != DrainTimeout || result.Stats.ToUpstream.BytesNotDelivered != 3 {
				t.Errorf("got %+v, want drain_timeout with 3 bytes not delivered", result)
			}
		})
	})
	t.Run("at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := start(ctx, t, translating(t), 1<<10)
			s.up.in.limit = 8
			s.down.send([]byte("hi\nho\n"))
			synctest.Wait()
			s.Drain()
			began := time.Now()
			cancel()
			if result := <-s.result; result.Reason != DrainTimeout || time.Since(began) != 0 {
				t.Errorf("got %+v after %v, want drain_timeout at once", result, time.Since(began))
			}
			expectReset(t, "downstream", s.down, "")
		})
	})
}

// While the sender floods, a session may be drained and cut at any moment: the receiver gets the first frames of the stream, whole,
// and the rest is counted.
func TestCutWhileFlooded(t *testing.T) {
	const frame = "0123456789\n"
	const count = 1 << 17
	all := bytes.Repeat([]byte(frame), count)
	want := bytes.Repeat([]byte("\x00\x00\x00\x0a0123456789"), count)
	for moment := range 8 {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 300<<10)
			go s.down.send(all)
			got := make([]byte, 0, len(want))
			for len(got) < moment*200_000 {
				n, err := s.up.Read(func() []byte { return got[len(got):min(len(got)+1000+moment*7777, cap(got))] }, func([]byte) {})
				if err != nil {
					t.Fatal(err)
				}
				got = got[:len(got)+n]
			}
			s.Drain()
			s.Cut()
			rest, err := s.up.receive()
			got = append(got, rest...)
			if !bytes.HasPrefix(want, got) || len(got)%14 != 0 || !errors.Is(err, errReset) {
				t.Errorf("upstream got %d bytes and %v, want whole frames from the beginning, and a reset", len(got), err)
			}
			result := <-s.result
			up := result.Stats.ToUpstream
			if result.Reason != DrainTimeout || up.FramesOut != int64(len(got)/14) || up.FramesIn != up.FramesOut+up.FramesNotDelivered {
				t.Errorf("got %+v, want drain_timeout, with %d frames written and the others counted", result, len(got)/14)
			}
		})
	}
}

// A session may come to rest at any moment of a dialogue: bytes that a peer sent before it saw an end have arrived, or the peer is
// reset and they are counted.
func TestDrainAtAnyMoment(t *testing.T) {
	for moment := range 100 {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			s := start(t.Context(), t, config, 64<<10)
			sent := 0
			talked := make(chan struct{})
			go func() {
				defer close(talked)
				pause := quietTime - 50*time.Millisecond // each pause is longer than the one before, until one is too long
				for range 100 {
					if s.down.send([]byte("0123456789\n")) != nil {
						return
					}
					sent++
					time.Sleep(pause)
					pause += time.Millisecond
				}
			}()
			time.Sleep(time.Duration(moment) * 100 * time.Millisecond)
			s.Drain()
			got, err := s.up.receive()
			result := <-s.result
			<-talked
			lost := result.Stats.ToUpstream.BytesNotDelivered
			if (err != nil && lost == 0) || len(got)%14 != 0 || sent*11 != len(got)/14*11+int(lost) {
				t.Errorf("upstream got %d frames and %v; %d were sent, and %d bytes were not delivered", len(got)/14, err, sent, lost)
			}
			if result.Reason != Drained || (lost > 0) != (s.down.in.broken != nil && errors.Is(s.down.in.broken, errReset)) {
				t.Errorf("got %+v, and the sender %v; want drained, and a reset if bytes are not delivered", result, s.down.in.broken)
			}
		})
	}
}

// A link whose reset takes a moment, as that of a socket does while a read and a write on it end.
type slowReset struct{ Link }

func (l slowReset) Reset() error {
	err := l.Link.Reset()
	time.Sleep(time.Millisecond)
	return err
}

// A session that is cut while a write blocks resets both links, also if the reset of the first takes until everything else has ended.
func TestCutWhileALinkIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		var down, up *link
		config.Downstream.Link, down = connected(1 << 10)
		config.Upstream.Link, up = connected(1 << 10)
		config.Upstream.Link = slowReset{config.Upstream.Link}
		up.in.limit = 8
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan Result, 1)
		go func() { result <- s.Run(ctx) }()
		down.send([]byte("hi\nho\n"))
		synctest.Wait()
		cancel(DrainTimeout)
		expectReset(t, "downstream", down, "")
		if r := <-result; r.Reason != DrainTimeout {
			t.Errorf("got %+v, want %s", r, DrainTimeout)
		}
	})
}

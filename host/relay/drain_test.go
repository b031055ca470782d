package relay

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrain(t *testing.T) {
	t.Run("between frames", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.down.send([]byte("hi\n"))
			synctest.Wait()
			s.Drain(Drained)
			s.Drain(RouteRemoved) // the first counts
			synctest.Wait()
			s.down.send([]byte("too late\n"))
			if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || err != nil {
				t.Errorf("upstream got %q, %v; want the frame and a clean end", got, err)
			}
			if got, err := s.down.receive(); len(got) != 0 || err != nil {
				t.Errorf("downstream got %q, %v; want a clean end", got, err)
			}
			began := time.Now()
			s.down.CloseWrite()
			s.up.CloseWrite()
			result := <-s.result
			if result.Reason != Drained || result.Stats.ToUpstream.BytesDiscarded != 9 || time.Since(began) != 0 {
				t.Errorf("got %+v after %v, want drained at once", result, time.Since(began))
			}
		})
	})
	t.Run("peers that do not end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			synctest.Wait()
			began := time.Now()
			s.Drain(RouteRemoved)
			if result := <-s.result; result.Reason != RouteRemoved || time.Since(began) != lingerTime {
				t.Errorf("got %+v after %v, want route_removed after %v", result, time.Since(began), lingerTime)
			}
			if _, err := s.up.receive(); err != nil {
				t.Errorf("upstream got %v, want a clean end", err)
			}
		})
	})
	t.Run("inside a frame", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.down.send([]byte("hi\nho"))
			synctest.Wait()
			s.Drain(Drained)
			if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || !errors.Is(err, errReset) {
				t.Errorf("upstream got %q, %v; want the whole frame and a reset", got, err)
			}
			if _, err := s.down.receive(); err != nil {
				t.Errorf("downstream got %v, want a clean end", err)
			}
			if result := <-s.result; result.Reason != Drained {
				t.Errorf("got %+v, want drained", result)
			}
		})
	})
	t.Run("while a write blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.up.in.limit = 3
			s.down.send([]byte("hi\nho\n"))
			synctest.Wait()
			s.Drain(Drained)
			synctest.Wait()
			got, err := s.up.receive()
			if string(got) != "\x00\x00\x00\x02hi\x00\x00\x00\x02ho" || err != nil {
				t.Errorf("upstream got %q, %v; want both frames and a clean end", got, err)
			}
			if result := <-s.result; result.Reason != Drained {
				t.Errorf("got %+v, want drained", result)
			}
		})
	})
	t.Run("while a write blocks, for too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, Drained)
			defer cancel()
			s := start(ctx, t, translating(t), 1<<10)
			s.up.in.limit = 3
			s.down.send([]byte("hi\nho\n"))
			synctest.Wait()
			s.Drain(Drained)
			began := time.Now()
			if result := <-s.result; result.Reason != Drained || time.Since(began) != time.Minute {
				t.Errorf("got %+v after %v, want drained after a minute", result, time.Since(began))
			}
			if _, err := s.up.receive(); !errors.Is(err, errReset) {
				t.Errorf("upstream got %v, want a reset", err)
			}
		})
	})
	t.Run("half closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 1<<10)
			s.down.CloseWrite()
			synctest.Wait()
			s.up.send([]byte("\x00\x00\x00\x02hi"))
			synctest.Wait()
			s.Drain(Drained)
			if got, err := s.down.receive(); string(got) != "hi\n" || err != nil {
				t.Errorf("downstream got %q, %v; want the frame and a clean end", got, err)
			}
			if result := <-s.result; result.Reason != Drained {
				t.Errorf("got %+v, want drained", result)
			}
		})
	})
}

// A session may be drained at any moment; whatever arrived is the beginning of what was sent, in whole frames.
func TestDrainAtAnyMoment(t *testing.T) {
	for moment := range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 64<<10)
			go func() {
				for range 100 {
					if s.down.send([]byte("0123456789\n0123456789\n")) != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
				s.down.CloseWrite()
			}()
			go func() {
				time.Sleep(time.Duration(moment) * time.Millisecond / 2)
				s.Drain(Drained)
			}()
			got, err := s.up.receive()
			if len(got)%14 != 0 || err != nil {
				t.Errorf("upstream got %d bytes, %v; want whole frames and a clean end", len(got), err)
			}
			if result := <-s.result; result.Reason != Drained || result.Stats.ToUpstream.BytesWritten != int64(len(got)) {
				t.Errorf("got %+v, want drained", result)
			}
		})
	}
}

func TestDrainBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		var down, up *link
		config.Downstream.Link, down = connected(100)
		config.Upstream.Link, up = connected(100)
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		s.Drain(RouteRemoved)
		down.CloseWrite()
		up.CloseWrite()
		if result := s.Run(t.Context()); result.Reason != RouteRemoved {
			t.Errorf("got %+v, want route_removed", result)
		}
	})
}

// While the sender floods, the receiver gets a beginning of the stream, and a clean end only behind a whole frame.
func TestDrainWhileFlooded(t *testing.T) {
	const frame = "0123456789\n"
	const count = 1 << 17
	all := bytes.Repeat([]byte(frame), count)
	want := bytes.Repeat([]byte("\x00\x00\x00\x0a0123456789"), count)
	for moment := range 8 {
		synctest.Test(t, func(t *testing.T) {
			s := start(t.Context(), t, translating(t), 300<<10)
			go func() {
				s.down.send(all)
				s.down.CloseWrite()
			}()
			got := make([]byte, 0, 1<<20)
			for len(got) < moment*200_000 {
				n, err := s.up.Read(func() []byte { return got[len(got):min(len(got)+1000+moment*7777, cap(got))] }, func([]byte) {})
				if err != nil {
					t.Fatal(err)
				}
				if got = got[:len(got)+n]; len(got) == cap(got) {
					got = append(make([]byte, 0, 2*cap(got)), got...)
				}
			}
			s.Drain(Drained) // before the stream and the session can come to their own end
			rest, err := s.up.receive()
			got = append(got, rest...)
			if !bytes.HasPrefix(want, got) {
				t.Errorf("what upstream got is no beginning of what was sent")
			}
			if len(got)%14 != 0 || err != nil && !errors.Is(err, errReset) {
				t.Errorf("upstream got %d bytes, %v", len(got), err)
			}
			s.up.CloseWrite()
			result := <-s.result
			if result.Reason != Drained || result.Stats.ToUpstream.FramesOut != int64(len(got)/14) {
				t.Errorf("got %+v, want drained, with %d frames", result, len(got)/14)
			}
			if clean := result.Stats.ToUpstream.BytesRead-result.Stats.ToUpstream.BytesDiscarded == int64(len(got)/14*11); clean != (err == nil) {
				t.Errorf("read %+v: clean %v, end %v", result.Stats.ToUpstream, clean, err)
			}
		})
	}
}

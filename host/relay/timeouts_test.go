package relay

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeouts(t *testing.T) {
	sleep := func(d time.Duration) { time.Sleep(d) } // in a synctest bubble, the clock jumps
	tests := []struct {
		name     string
		timeouts Timeouts
		do       func(s *relayed)
		reason   Reason
		in       Direction
		after    time.Duration // when the session ends; 0: it does not
	}{
		{"nothing ever", Timeouts{Idle: time.Minute}, func(*relayed) {}, IdleTimeout, Neither, time.Minute},
		{"a byte keeps a session", Timeouts{Idle: time.Minute}, func(s *relayed) {
			sleep(50 * time.Second)
			s.down.send([]byte("x"))
		}, IdleTimeout, Neither, 110 * time.Second},
		{"a byte the other way keeps it too", Timeouts{Idle: time.Minute}, func(s *relayed) {
			sleep(10 * time.Second)
			s.down.send([]byte("x"))
			sleep(40 * time.Second)
			s.up.send([]byte("\x00"))
		}, IdleTimeout, Neither, 110 * time.Second},
		{"never", Timeouts{}, func(s *relayed) { s.down.send([]byte("x")) }, "", Neither, 0},

		{"a frame that does not end", Timeouts{Frame: time.Minute}, func(s *relayed) {
			sleep(30 * time.Second)
			s.down.send([]byte("x"))
		}, FrameTimeout, ToUpstream, 90 * time.Second},
		{"bytes do not prolong a frame", Timeouts{Frame: time.Minute}, func(s *relayed) {
			for range 50 {
				s.down.send([]byte("x"))
				sleep(time.Second)
			}
		}, FrameTimeout, ToUpstream, time.Minute},
		{"every frame has its own time", Timeouts{Frame: time.Minute}, func(s *relayed) {
			for range 3 {
				s.down.send([]byte("x"))
				sleep(50 * time.Second)
				s.down.send([]byte("\n"))
			}
			s.down.send([]byte("\nx"))
		}, FrameTimeout, ToUpstream, 210 * time.Second},
		{"between frames no clock runs", Timeouts{Frame: time.Minute}, func(s *relayed) {
			s.down.send([]byte("x\n"))
		}, "", Neither, 0},
		{"a frame from upstream", Timeouts{Frame: time.Minute}, func(s *relayed) {
			s.up.send([]byte("\x00"))
		}, FrameTimeout, ToDownstream, time.Minute},
		{"a frame's clock stands still while the session does not read", Timeouts{Frame: time.Minute}, func(s *relayed) {
			s.down.send([]byte("0123456789\n0123456789\nx")) // more than upstream accepts, and an unfinished frame
			sleep(5 * time.Minute)
			for range 14 + 14 {
				s.up.Read(func() []byte { return make([]byte, 1) }, func([]byte) {})
			}
		}, FrameTimeout, ToUpstream, 6 * time.Minute},

		{"a receiver that takes nothing", Timeouts{Write: time.Minute, Idle: time.Hour}, func(s *relayed) {
			sleep(30 * time.Second)
			s.down.send([]byte("0123456789\n0123456789\n"))
		}, WriteTimeout, ToUpstream, 90 * time.Second},
		{"a receiver that takes a byte now and then", Timeouts{Write: time.Minute}, func(s *relayed) {
			s.down.send([]byte("0123456789\n0123456789\n"))
			for range 3 {
				sleep(50 * time.Second)
				s.up.Read(func() []byte { return make([]byte, 1) }, func([]byte) {})
			}
		}, WriteTimeout, ToUpstream, 210 * time.Second},

		{"half closed, and nothing follows", Timeouts{HalfClose: time.Minute}, func(s *relayed) {
			sleep(30 * time.Second)
			s.down.CloseWrite()
		}, HalfCloseTimeout, ToDownstream, 90 * time.Second},
		{"half closed, and bytes keep coming", Timeouts{HalfClose: time.Minute}, func(s *relayed) {
			s.up.CloseWrite()
			for range 4 {
				sleep(50 * time.Second)
				s.down.send([]byte("x"))
			}
		}, HalfCloseTimeout, ToUpstream, 260 * time.Second},
		{"the earliest counts", Timeouts{Idle: 3 * time.Minute, Frame: 2 * time.Minute, Write: time.Minute, HalfClose: time.Minute},
			func(s *relayed) { s.down.send([]byte("x")) }, FrameTimeout, ToUpstream, 2 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := translating(t)
				config.Timeouts = tt.timeouts
				began := time.Now()
				s := start(t.Context(), t, config, 26)
				s.down.in.limit, s.up.in.limit = 20, 20
				tt.do(s)
				if tt.reason == "" {
					sleep(1000 * time.Hour)
					synctest.Wait()
					select {
					case result := <-s.result:
						t.Errorf("got %+v, want no end", result)
					default:
						s.down.Reset()
						<-s.result
					}
					return
				}
				result := <-s.result
				if took := time.Since(began); result.Reason != tt.reason || result.Direction != tt.in || took != tt.after {
					t.Errorf("got %+v after %v, want %s %s after %v", result, took, tt.reason, tt.in, tt.after)
				}
			})
		})
	}
}

// The violation for an unfinished frame describes what has arrived of it, and what is missing.
func TestFrameTimeoutSaysWhatItHeld(t *testing.T) {
	tests := []struct {
		name, wire string
		held       int
		offset     int64
		bytes      string
		want       string
	}{
		{"a line", "hi\nabcdef", 6, 3, "abcdef", "a newline"},
		{"a long line", strings.Repeat("x", 40), 40, 0, strings.Repeat("x", 32), "a newline"},
		{"a count", "\x00\x00\x00\x05ab", 6, 0, "\x00\x00\x00\x05ab", "more, 3 bytes more at least"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			config.Timeouts.Frame, config.WireBytes = time.Minute, 32
			if tt.name == "a count" {
				config.Downstream, config.Upstream = config.Upstream, config.Downstream
			}
			var reported []Violation
			config.Violation = func(v Violation) { reported = append(reported, v) }
			s := start(t.Context(), t, config, 1000)
			s.down.send([]byte(tt.wire))
			synctest.Wait()
			if waiting := s.Stats().ToUpstream.BytesWaiting; waiting != int64(tt.held) {
				t.Errorf("%s: %d bytes wait, want %d", tt.name, waiting, tt.held)
			}
			result := <-s.result
			v := (*Violation)(nil)
			if result.Reason != FrameTimeout || !errors.As(result.Err, &v) || !errors.Is(v, ErrUnfinished) || len(reported) != 1 {
				t.Fatalf("%s: got %+v, %d reports; want what a frame timeout held, and a report", tt.name, result, len(reported))
			}
			if v.Held != tt.held || v.Offset != tt.offset || v.At != tt.offset+int64(tt.held) || string(v.Bytes) != tt.bytes || v.Want != tt.want {
				t.Errorf("%s: got %+v, bytes %q", tt.name, v, v.Bytes)
			}
			if waiting := result.Stats.ToUpstream.BytesWaiting; waiting != 0 {
				t.Errorf("%s: %d bytes wait at the end, want none", tt.name, waiting)
			}
		})
	}
}

func TestTimeoutResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		config.Timeouts.HalfClose = time.Minute
		s := start(t.Context(), t, config, 100)
		s.down.CloseWrite()
		if got, err := s.up.receive(); len(got) != 0 || err != nil {
			t.Errorf("upstream got %q, %v; want a clean end", got, err)
		}
		if _, err := s.down.receive(); !errors.Is(err, errReset) {
			t.Errorf("downstream got %v, want a reset", err)
		}
		<-s.result
	})
}

// A stream in a hub describes its unfinished frame in the same way.
func TestFrameTimeoutInAHubSaysWhatItHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		config := with(codec(t, lines{}, 1000))
		config.Timeouts.Frame, config.WireBytes = time.Minute, 3
		var reported []Violation
		config.Violation = func(v Violation) { reported = append(reported, v) }
		p := join(t, h, config, 1000)
		p.send([]byte("hi\nabcdef"))
		result := p.ended(t, FrameTimeout)
		v := (*Violation)(nil)
		if !errors.As(result.Err, &v) || len(reported) != 1 {
			t.Fatalf("got %+v, %d reports; want what the frame timeout held, and a report", result, len(reported))
		}
		if v.Direction != FromMember || v.Held != 6 || v.Offset != 3 || v.At != 9 || string(v.Bytes) != "abc" || v.Want != "a newline" {
			t.Errorf("got %+v, bytes %q", v, v.Bytes)
		}
	})
}

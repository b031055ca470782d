package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/framehost/framehost/codecs"
)

// kept is a quarantine in memory.
type kept struct {
	bytes.Buffer
	closed int
}

func (k *kept) Close() error { k.closed++; return nil }

// The downstream sends lines; the upstream has counted frames. The upstream's framing can carry 12 bytes; the limit of its payloads
// is 15 bytes.
func TestViolations(t *testing.T) {
	const hi, ho = "\x00\x00\x00\x02hi", "\x00\x00\x00\x02ho"
	type violation struct {
		offset, at, frame int64
		err               error
		bytes             string
	}
	long, longer := strings.Repeat("x", 13), strings.Repeat("z", 17)
	tests := []struct { // '|' marks where one read ends and the next begins
		name, wire string
		policy     OnViolation
		want       string
		reason     Reason
		violations []violation
		kept       string
		counts     FlowStats
	}{
		{"an end inside a frame", "hi\nho", CloseSession, hi, FinMidFrame,
			[]violation{{3, 5, 1, codecs.ErrTruncated, "ho"}}, "", FlowStats{Violations: 1}},
		{"a truncated tail is dropped", "hi\nho", Skip, hi, Fin,
			[]violation{{3, 5, 1, codecs.ErrTruncated, "ho"}}, "", FlowStats{Violations: 1, DroppedTails: 1, BytesSkipped: 2}},
		{"a truncated tail is kept", "hi\n|h|o", Quarantine, hi, Fin,
			[]violation{{3, 5, 1, codecs.ErrTruncated, "ho"}}, "ho", FlowStats{Violations: 1, DroppedTails: 1, BytesSkipped: 2}},
		{"a violation after a good frame", "hi\n!bad....ho\n", CloseSession, hi, Violated,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!bad....ho\n"}}, "", FlowStats{Violations: 1}},
		{"a violation is skipped", "hi\n!bad....ho\n", Skip, hi + ho, Fin,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!bad....ho\n"}}, "", FlowStats{Violations: 1, BytesSkipped: 8}},
		{"a violation is skipped beyond what has arrived", "hi\n!b|ad|..|..ho\n", Skip, hi + ho, Fin,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!b"}}, "", FlowStats{Violations: 1, BytesSkipped: 8}},
		{"a violation is kept, as it arrives", "hi\n!b|ad|..|..ho\n", Quarantine, hi + ho, Fin,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!b"}}, "!bad....", FlowStats{Violations: 1, BytesSkipped: 8}},
		{"two violations at once", "!bad....!bad....hi\n", Skip, hi, Fin,
			[]violation{{0, 0, 0, codecs.ErrMalformed, "!bad....!bad....hi\n"}, {8, 8, 0, codecs.ErrMalformed, "!bad....hi\n"}}, "",
			FlowStats{Violations: 2, BytesSkipped: 16}},
		{"the stream ends inside what is skipped", "hi\n!bad", Quarantine, hi, Fin,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!bad"}}, "!bad", FlowStats{Violations: 1, BytesSkipped: 4}},
		{"a violation that nothing can follow", "hi\n!!..ho\n", Skip, hi, Violated,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!!..ho\n"}}, "", FlowStats{Violations: 1}},
		{"a violation that nothing can follow is kept", "hi\n!!..ho\n", Quarantine, hi, Violated,
			[]violation{{3, 3, 1, codecs.ErrMalformed, "!!..ho\n"}}, "!!..ho\n", FlowStats{Violations: 1}},
		{"a payload too long for the receiver", "hi\n" + long + "\nho\n", CloseSession, hi, Unrepresentable,
			[]violation{{3, 15, 1, codecs.ErrUnrepresentable, long}}, "", FlowStats{Unrepresentable: 1}},
		{"a payload too long for the receiver is dropped", "hi\n" + long + "\nho\n", Skip, hi + ho, Fin,
			[]violation{{3, 15, 1, codecs.ErrUnrepresentable, long}}, "", FlowStats{Unrepresentable: 1}},
		{"a payload too long for the receiver is kept", "hi\n" + long + "\nho\n", Quarantine, hi + ho, Fin,
			[]violation{{3, 15, 1, codecs.ErrUnrepresentable, long}}, long, FlowStats{Unrepresentable: 1}},
		{"a payload beyond the receiver's limit", "hi\n" + longer + "\nho\n", CloseSession, hi, Unrepresentable,
			[]violation{{3, 18, 1, codecs.ErrTooLong, longer}}, "", FlowStats{Unrepresentable: 1}},
		{"payloads beyond the receiver's limit are dropped", longer + "\nhi\n" + longer + "\n" + long + "\nho\n", Skip, hi + ho, Fin,
			[]violation{{0, 15, 0, codecs.ErrTooLong, longer}, {21, 36, 2, codecs.ErrTooLong, longer}, {39, 51, 3, codecs.ErrUnrepresentable, long}}, "",
			FlowStats{Unrepresentable: 3}},
		{"a line too long", strings.Repeat("y", 22), Skip, "", Violated,
			[]violation{{0, 20, 0, codecs.ErrTooLong, strings.Repeat("y", 22)}}, "", FlowStats{Violations: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var found []Violation
				var quarantine kept
				config := Config{
					Downstream:  Side{Codec: codec(t, lines{}, 20)},
					Upstream:    Side{Codec: codec(t, upTo{counted{}, 12}, 15)},
					OnViolation: tt.policy,
					Violation:   func(v Violation) { found = append(found, v) },
					WireBytes:   32,
					Quarantine:  func(Violation) io.WriteCloser { return &quarantine },
				}
				s := start(t.Context(), t, config, 1<<10)
				for read := range strings.SplitSeq(tt.wire, "|") {
					s.down.send([]byte(read))
					synctest.Wait()
				}
				s.down.CloseWrite()
				s.up.CloseWrite()
				got, err := s.up.receive()
				if clean := tt.reason == Fin; string(got) != tt.want || clean != (err == nil) {
					t.Errorf("upstream got %q, %v; want %q, a clean end: %v", got, err, tt.want, clean)
				}
				result := <-s.result
				if result.Reason != tt.reason || result.Direction != map[bool]Direction{true: Neither, false: ToUpstream}[tt.reason == Fin] {
					t.Errorf("got %+v, want %s", result, tt.reason)
				}
				checkViolations(t, found, tt.violations, func(v Violation) violation {
					return violation{v.Offset, v.At, v.Frame, v.Err, string(v.Bytes)}
				})
				if last := (*Violation)(nil); tt.reason != Fin && (!errors.As(result.Err, &last) || last.Skipped) {
					t.Errorf("result has %v, want the violation", result.Err)
				}
				if quarantine.String() != tt.kept || tt.kept != "" && quarantine.closed != 1 {
					t.Errorf("kept %q, closed %d times; want %q", &quarantine, quarantine.closed, tt.kept)
				}
				stats := result.Stats.ToUpstream
				compared := FlowStats{Violations: stats.Violations, Unrepresentable: stats.Unrepresentable,
					DroppedTails: stats.DroppedTails, BytesSkipped: stats.BytesSkipped}
				if compared != tt.counts {
					t.Errorf("counted %+v, want %+v", compared, tt.counts)
				}
			})
		})
	}
}

func checkViolations[V comparable](t *testing.T, got []Violation, want []V, of func(Violation) V) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d violations, want %d: %+v", len(got), len(want), got)
	}
	for i, v := range got {
		if of(v) != want[i] {
			t.Errorf("violation %d: got %+v, want %+v", i, v, want[i])
		}
	}
}

// upTo refuses to encode payloads that are longer than a limit.
type upTo struct {
	counted
	most int
}

func (u upTo) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		if len(in.At(i)) > u.most {
			in.Refs = in.Refs[:i]
			if taken, err := u.counted.Encode(out, in); err != nil {
				return taken, err
			}
			return i, &codecs.Fault{At: u.most, Err: codecs.ErrUnrepresentable, Want: "a short payload"}
		}
	}
	return u.counted.Encode(out, in)
}

func TestHalfClose(t *testing.T) {
	for _, first := range []string{"downstream", "upstream"} {
		t.Run(first+" ends first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := translating(t)
				config.Upstream.Codec = codec(t, lines{dot: true}, 100)
				config.Downstream.Codec = config.Upstream.Codec
				s := start(t.Context(), t, config, 1<<10)
				one, other := s.down, s.up
				if first == "upstream" {
					one, other = other, one
				}
				one.send([]byte("ask\n"))
				one.CloseWrite()
				if got, err := other.receive(); string(got) != "ask\n." || err != nil {
					t.Errorf("got %q, %v; want the question and an end", got, err)
				}
				for range 3 {
					synctest.Wait()
					other.send([]byte("answer\n"))
				}
				other.CloseWrite()
				if got, err := one.receive(); string(got) != "answer\nanswer\nanswer\n." || err != nil {
					t.Errorf("got %q, %v; want three answers and an end", got, err)
				}
				if result := <-s.result; result.Reason != Fin {
					t.Errorf("got %+v, want fin", result)
				}
			})
		})
	}
}

func TestPeersBreak(t *testing.T) {
	tests := []struct {
		name   string
		do     func(s *relayed)
		reason Reason
		in     Direction
	}{
		{"downstream resets", func(s *relayed) { s.down.Reset() }, Reset, ToUpstream},
		{"downstream vanishes", func(s *relayed) { s.down.out.breakWith(errLost) }, PeerLost, ToUpstream},
		{"downstream fails otherwise", func(s *relayed) { s.down.out.breakWith(io.ErrUnexpectedEOF) }, IOError, ToUpstream},
		{"upstream resets", func(s *relayed) { s.up.Reset() }, Reset, ToDownstream},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t.Context(), t, translating(t), 1<<10)
				s.down.send([]byte("hi\nho"))
				s.up.send([]byte("\x00\x00\x00\x02hi"))
				synctest.Wait()
				tt.do(s)
				result := <-s.result
				if result.Reason != tt.reason || result.Direction != tt.in || result.Err == nil {
					t.Errorf("got %+v, want %s %s", result, tt.reason, tt.in)
				}
				if tt.in == ToUpstream {
					if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || !errors.Is(err, errReset) {
						t.Errorf("upstream got %q, %v; want what was whole, and a reset", got, err)
					}
				} else if got, err := s.down.receive(); string(got) != "hi\n" || !errors.Is(err, errReset) {
					t.Errorf("downstream got %q, %v; want what was whole, and a reset", got, err)
				}
			})
		})
	}
}

// A stream that has ended stays complete, whatever happens in the other direction.
func TestCompleteStreamIsNotReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t.Context(), t, translating(t), 1<<10)
		s.down.send([]byte("ask\n"))
		s.down.CloseWrite()
		synctest.Wait()
		s.up.send([]byte("\x00\x00\x00\x09ans"))
		s.up.CloseWrite()
		if got, err := s.up.receive(); len(got) != 7 || err != nil {
			t.Errorf("upstream got %q, %v; want a clean end", got, err)
		}
		if got, err := s.down.receive(); len(got) != 0 || !errors.Is(err, errReset) {
			t.Errorf("downstream got %q, %v; want nothing and a reset", got, err)
		}
		if result := <-s.result; result.Reason != FinMidFrame || result.Direction != ToDownstream {
			t.Errorf("got %+v, want fin_mid_frame to downstream", result)
		}
	})
}

func TestCodecFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		config.Downstream.Codec = &failing{config.Downstream.Codec, 1}
		s := start(t.Context(), t, config, 1<<10)
		s.down.send([]byte("hi\n"))
		synctest.Wait()
		s.down.send([]byte("ho\n"))
		if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || !errors.Is(err, errReset) {
			t.Errorf("upstream got %q, %v; want the first frame and a reset", got, err)
		}
		if _, err := s.down.receive(); !errors.Is(err, errReset) {
			t.Errorf("downstream got %v, want a reset", err)
		}
		if result := <-s.result; result.Reason != CodecFailed || result.Direction != ToUpstream {
			t.Errorf("got %+v, want codec_failed", result)
		}
	})
}

// needy says that it needs more bytes than it does.
type needy struct {
	counted
	extra int
}

func (n needy) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	consumed, err := n.counted.Decode(out, in)
	if out.Need() > 0 {
		out.SetNeed(out.Need() + n.extra)
	}
	return consumed, err
}

// A codec that makes its stream wait for bytes that it does not need has failed: no stream waits forever, and no stream ends as if it
// were complete.
func TestCodecThatNeedsTooMuch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		extra int
		ends  bool   // the error comes when the stream ends
		says  string // a part of the error
	}{
		{"more than a frame can have", 1 << 21, false, "needs 2097156 bytes, but the longest frame has 1048580"},
		{"a byte more than this frame has", 3, true, "found 1 payloads in 6 bytes, after it needed 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := translating(t)
				config.Downstream.Codec = codec(t, needy{extra: tt.extra}, 1<<20)
				s := start(t.Context(), t, config, 1<<10)
				s.down.send([]byte("\x00\x00"))
				synctest.Wait()
				if !tt.ends && len(s.result) == 0 {
					t.Error("the session waits for what can't come")
				}
				s.down.send([]byte("\x00\x02hi"))
				s.down.CloseWrite()
				if got, err := s.up.receive(); len(got) != 0 || !errors.Is(err, errReset) {
					t.Errorf("upstream got %q, %v; want nothing and a reset", got, err)
				}
				result := <-s.result
				if result.Reason != CodecFailed || result.Err == nil || !strings.Contains(result.Err.Error(), tt.says) {
					t.Errorf("got %+v, want codec_failed that says %q", result, tt.says)
				}
			})
		})
	}
}

// greedy asks for one more byte of room each time it gets the room that it asked for.
type greedy struct {
	lines
	asks *atomic.Int64
}

func (g greedy) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if len(in.Bytes) == 0 {
		return 0, nil
	}
	_, err := out.Grow(1<<17 + int(g.asks.Add(1)))
	return 0, err
}

func TestCodecThatNeverHasEnoughRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asks atomic.Int64
		config := translating(t)
		config.Downstream.Codec = codec(t, greedy{asks: &asks}, 1<<20)
		s := start(t.Context(), t, config, 1<<10)
		s.down.send([]byte("hi\n"))
		const says = "were needed: now 131074 are"
		if result := <-s.result; result.Reason != CodecFailed || result.Err == nil || !strings.Contains(result.Err.Error(), says) {
			t.Errorf("got %+v, want codec_failed that says %q", result, says)
		}
		if n := asks.Load(); n != 2 {
			t.Errorf("got %d calls, want 2", n)
		}
	})
}

func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := start(ctx, t, translating(t), 1<<10)
		synctest.Wait()
		cancel(Drained)
		if result := <-s.result; result.Reason != Drained {
			t.Errorf("got %+v, want drained", result)
		}
		for _, peer := range []*link{s.down, s.up} {
			if _, err := peer.receive(); !errors.Is(err, errReset) {
				t.Errorf("got %v, want a reset", err)
			}
		}
	})
}

func TestOneCodec(t *testing.T) {
	if _, err := New(Config{Downstream: Side{Codec: codec(t, lines{}, 10)}}); err == nil {
		t.Error("a session with a codec on one side was accepted")
	}
}

// Bytes pass through unchanged if neither side has a codec.
func TestUnframed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t.Context(), t, Config{}, 10)
		all := bytes.Repeat([]byte("any bytes\n"), 5_000)
		go func() {
			s.down.send(all)
			s.down.CloseWrite()
		}()
		s.up.CloseWrite()
		got, err := s.up.receive()
		compare(t, "upstream", got, all)
		if result := <-s.result; result.Reason != Fin || err != nil {
			t.Errorf("got %+v, %v; want fin", result, err)
		}
	})
}

func TestDirections(t *testing.T) {
	t.Run("the session only receives from downstream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			config.Downstream.Use = ReceiveOnly
			s := start(t.Context(), t, config, 1<<10)
			s.up.send([]byte("anything"))
			s.up.CloseWrite()
			s.down.send([]byte("hi\n"))
			synctest.Wait()
			if len(s.down.in.held) != 0 || s.down.in.ended {
				t.Error("something was written to a side that is only received from")
			}
			s.down.CloseWrite()
			result := <-s.result
			if got := result.Stats.ToDownstream; result.Reason != Fin || got.BytesDiscarded != 8 || got.BytesWritten != 0 {
				t.Errorf("got %+v, want fin with 8 bytes discarded", result)
			}
			if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || err != nil {
				t.Errorf("upstream got %q, %v", got, err)
			}
		})
	})
	t.Run("the session only sends to downstream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			config.Downstream.Use = SendOnly
			s := start(t.Context(), t, config, 1<<10)
			s.down.send([]byte("!!keys pressed"))
			s.down.CloseWrite()
			synctest.Wait()
			s.up.send([]byte("\x00\x00\x00\x02hi"))
			s.up.CloseWrite()
			if got, err := s.down.receive(); string(got) != "hi\n" || err != nil {
				t.Errorf("downstream got %q, %v", got, err)
			}
			result := <-s.result
			if got := result.Stats.ToUpstream; result.Reason != Fin || got.BytesDiscarded != 14 || got.FramesIn != 0 {
				t.Errorf("got %+v, want fin with 14 bytes discarded", result)
			}
		})
	})
	t.Run("the unused directions are shut at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			config := translating(t)
			config.Downstream.Use, config.Downstream.Shutdown = ReceiveOnly, true
			config.Upstream.Use, config.Upstream.Shutdown = SendOnly, true
			s := start(t.Context(), t, config, 1<<10)
			if got, err := s.down.receive(); len(got) != 0 || err != nil {
				t.Errorf("downstream got %q, %v; want an end at once", got, err)
			}
			s.down.send([]byte("hi\n"))
			s.down.CloseWrite()
			if got, err := s.up.receive(); string(got) != "\x00\x00\x00\x02hi" || err != nil {
				t.Errorf("upstream got %q, %v", got, err)
			}
			if result := <-s.result; result.Reason != Fin {
				t.Errorf("got %+v, want fin", result)
			}
		})
	})
}

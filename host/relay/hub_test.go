package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// A peer is the peer of a running member.
type peer struct {
	*link
	member *Member
	result chan MemberResult
}

// join adds a stream to h, over a connection that holds up to limit bytes each way.
func join(t testing.TB, h *Hub, config StreamMember, limit int) *peer {
	t.Helper()
	return joinUntil(t.Context(), t, h, config, limit)
}

// joinUntil is like join, for a member whose Run has this context.
func joinUntil(ctx context.Context, t testing.TB, h *Hub, config StreamMember, limit int) *peer {
	t.Helper()
	p := &peer{result: make(chan MemberResult, 1)}
	config.Link, p.link = connected(limit)
	if config.Classify == nil {
		config.Classify = classify
	}
	var err error
	if p.member, err = h.Stream(config); err != nil {
		t.Fatal(err)
	}
	go func() { p.result <- p.member.Run(ctx) }()
	return p
}

func with(c codeccall.Codec) StreamMember { return StreamMember{MemberConfig: MemberConfig{Codec: c}} }

// ended waits for the end of a member.
func (p *peer) ended(t testing.TB, want Reason) MemberResult {
	t.Helper()
	result := <-p.result
	if result.Reason != want {
		t.Errorf("got %+v, want %s", result, want)
	}
	return result
}

// text receives to the end, and returns everything.
func (p *peer) text(t testing.TB) string {
	t.Helper()
	all, err := p.receive()
	if err != nil {
		t.Errorf("receive: %v", err)
	}
	return string(all)
}

// drain drains h, and ends the peers' directions as well.
func drain(h *Hub, peers ...*peer) {
	h.End(Drained)
	for _, p := range peers {
		_ = p.CloseWrite()
	}
}

func TestHubReachesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		a, b := codec(t, lines{dot: true}, 1<<20), codec(t, counted{}, 1<<20)
		one, two, three := join(t, h, with(a), 1<<20), join(t, h, with(a), 1<<20), join(t, h, with(b), 1<<20)
		echoing := with(b)
		echoing.Echo = true
		four := join(t, h, echoing, 1<<20)
		synctest.Wait()
		one.send([]byte("hi\n"))
		synctest.Wait()
		four.send([]byte("\x00\x00\x00\x02ho\x00"))
		synctest.Wait()
		drain(h, one, two, three, four)
		for i, want := range []string{"ho\n.", "hi\nho\n.", "\x00\x00\x00\x02hi\x00\x00\x00\x02ho", "\x00\x00\x00\x02hi\x00\x00\x00\x02ho"} {
			p := []*peer{one, two, three, four}[i]
			if got := p.text(t); got != want {
				t.Errorf("member %d got %q, want %q", i+1, got, want)
			}
			p.ended(t, Drained)
		}
		stats := h.Stats()
		if stats.FramesIn != 2 || stats.FramesOut != 7 || stats.Members != 0 || stats.BytesRead != 10 || stats.BytesDiscarded != 1 {
			t.Errorf("got %+v", stats)
		}
		late := join(t, h, with(a), 10)
		late.ended(t, Drained)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

func TestHubRefuses(t *testing.T) {
	h := NewHub(nil)
	if _, err := h.Stream(with(nil)); !errors.Is(err, errNoCodec) {
		t.Errorf("got %v, want %v", err, errNoCodec)
	}
	numbered := codec(t, counted{numbered: true}, 100)
	if _, err := h.Stream(with(numbered)); !errors.Is(err, errState) {
		t.Errorf("got %v, want %v", err, errState)
	}
	if _, err := h.Datagrams(DatagramMember{MemberConfig: MemberConfig{Codec: numbered}}); !errors.Is(err, errState) {
		t.Errorf("got %v, want %v", err, errState)
	}
}

func TestHubUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		c := codec(t, lines{}, 100)
		giving, taking := with(c), with(c)
		giving.Use, taking.Use = ReceiveOnly, SendOnly
		one, two := join(t, h, giving, 100), join(t, h, taking, 100)
		synctest.Wait()
		two.send([]byte("nobody\n"))
		one.send([]byte("hi\n"))
		one.CloseWrite()
		if got := one.text(t); got != "" {
			t.Errorf("the one that gives got %q", got)
		}
		one.ended(t, Fin)
		synctest.Wait()
		drain(h, two)
		if got := two.text(t); got != "hi\n" {
			t.Errorf("the one that takes got %q", got)
		}
		if result := two.ended(t, Drained); result.Stats.BytesDiscarded != 7 || result.Stats.FramesIn != 0 {
			t.Errorf("got %+v, want 7 bytes discarded", result.Stats)
		}
	})
}

// counting counts the frames that a codec encodes.
type counting struct {
	codeccall.Codec
	encoded, open atomic.Int64
}

type countingDirection struct {
	codeccall.Direction
	*counting
}

func (c *counting) Open() codeccall.Direction {
	c.open.Add(1)
	return &countingDirection{c.Codec.Open(), c}
}

func (d *countingDirection) Encode(ctx context.Context, in *codeccall.Encode, out *codeccall.Encoded) error {
	err := d.Direction.Encode(ctx, in, out)
	d.encoded.Add(int64(out.Taken()))
	return err
}

func (d *countingDirection) Close() {
	d.open.Add(-1)
	d.Direction.Close()
}

func TestHubEncodesOnceForEachCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		a := &counting{Codec: codec(t, lines{}, 1000)}
		b := &counting{Codec: codec(t, counted{}, 1000)}
		sender := join(t, h, with(a), 1<<20)
		peers := []*peer{sender}
		for range 20 {
			peers = append(peers, join(t, h, with(b), 1<<20))
		}
		synctest.Wait()
		sender.send(bytes.Repeat([]byte("hi\n"), 500))
		synctest.Wait()
		if got := b.encoded.Load(); got != 500 {
			t.Errorf("%d frames encoded for 20 receivers, want 500", got)
		}
		if got := a.encoded.Load(); got != 0 {
			t.Errorf("%d frames encoded for nobody", got)
		}
		peers = append(peers, join(t, h, with(a), 1<<20))
		synctest.Wait()
		sender.send([]byte("ho\n"))
		synctest.Wait()
		if a, b := a.encoded.Load(), b.encoded.Load(); a != 1 || b != 501 {
			t.Errorf("%d and %d frames encoded, want 1 and 501", a, b)
		}
		for _, p := range peers[1:] {
			p.Close()
		}
		synctest.Wait()
		drain(h, peers...)
		for _, p := range peers {
			<-p.result
		}
		if a, b := a.open.Load(), b.open.Load(); a != 0 || b != 0 {
			t.Errorf("%d and %d directions are still open", a, b)
		}
	})
}

// A sender goes on while receivers with different codecs join and leave.
func TestHubForgetsCodecs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		sender := join(t, h, with(codec(t, lines{}, 1000)), 100)
		for range 3 {
			b := &counting{Codec: codec(t, counted{}, 1000)}
			one := join(t, h, with(b), 100)
			synctest.Wait()
			sender.send([]byte("hi\n"))
			synctest.Wait()
			one.member.End(Drained)
			one.CloseWrite()
			if got := one.text(t); got != "\x00\x00\x00\x02hi" {
				t.Errorf("got %q", got)
			}
			one.ended(t, Drained)
			sender.send([]byte("hi\n"))
			synctest.Wait()
			if open := b.open.Load(); open != 0 {
				t.Errorf("%d directions are open", open)
			}
		}
		drain(h, sender)
		sender.ended(t, Drained)
	})
}

func TestHubQueuePolicies(t *testing.T) {
	// Ten frames of 100 bytes are sent to a receiver that reads nothing at first. Its writer and its connection hold the first.
	frame := func(i int) string { return fmt.Sprintf("%099d\n", i) }
	frames := func(numbers ...int) string {
		var all strings.Builder
		for _, i := range numbers {
			all.WriteString(frame(i))
		}
		return all.String()
	}
	tests := []struct {
		name    string
		queue   Queue
		want    string
		dropped int64
		reason  Reason
		blocks  bool
	}{
		{"the default drops the oldest", Queue{Frames: 3}, frames(0, 7, 8, 9), 6, Drained, false},
		{"oldest by frames", Queue{Frames: 4, Policy: DropOldest}, frames(0, 6, 7, 8, 9), 5, Drained, false},
		{"oldest by bytes", Queue{Bytes: 250, Policy: DropOldest}, frames(0, 8, 9), 7, Drained, false},
		{"oldest, and even one is too long", Queue{Bytes: 10, Policy: DropOldest}, frames(0, 9), 8, Drained, false},
		{"newest by frames", Queue{Frames: 4, Policy: DropNewest}, frames(0, 1, 2, 3, 4), 5, Drained, false},
		{"newest by bytes", Queue{Bytes: 250, Policy: DropNewest}, frames(0, 1, 2), 7, Drained, false},
		{"newest, and even one is too long", Queue{Bytes: 10, Policy: DropNewest}, frames(0, 1), 8, Drained, false},
		{"room for all", Queue{Frames: 9, Policy: Disconnect}, frames(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0, Drained, false},
		{"disconnect by frames", Queue{Frames: 8, Policy: Disconnect}, frames(0), 8, SlowReceiver, false},
		{"disconnect by bytes", Queue{Bytes: 899, Policy: Disconnect}, frames(0), 8, SlowReceiver, false},
		{"block by frames", Queue{Frames: 2, Policy: Block}, frames(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0, Drained, true},
		{"block by bytes", Queue{Bytes: 10, Policy: Block}, frames(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0, Drained, true},
	}
	for _, batches := range []int{1, 10} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s in %d batches", tt.name, batches), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := NewMemory(64<<20, time.Minute)
					h := NewHub(memory)
					c := codec(t, lines{}, 1000)
					slowly := with(c)
					slowly.Queue = tt.queue
					slow := join(t, h, slowly, 1<<20)
					slow.in.limit = 100
					sender, quick := join(t, h, with(c), 1<<20), join(t, h, with(c), 1<<20)
					synctest.Wait()
					sender.send([]byte(frame(0) + frame(0))) // one in the connection, and one taken by the writer
					synctest.Wait()
					want := frame(0) + frame(0)
					for at := 0; at < 10; at += 10 / batches {
						batch := ""
						for i := range 10 / batches {
							batch += frame(at + i)
						}
						if at == 0 {
							batch = strings.TrimPrefix(batch, frame(0)) // was sent before
						}
						want += batch
						sender.send([]byte(batch))
						synctest.Wait()
					}
					if tt.reason == SlowReceiver {
						result := slow.ended(t, SlowReceiver)
						if result.Err == nil || result.Direction != ToMember {
							t.Errorf("got %+v", result)
						}
						if got, err := slow.receive(); string(got) != frame(0) || !errors.Is(err, errReset) {
							t.Errorf("got %q, %v; want one frame and a reset", got, err)
						}
					}
					if waits := quick.in.len() < len(want); waits != (tt.blocks && batches > 1) {
						t.Errorf("the sender waits: %v", waits)
					}
					slowGot := make(chan string)
					go func() {
						if tt.reason == Drained {
							slowGot <- slow.text(t)
						}
					}()
					synctest.Wait()
					if !tt.blocks {
						got := string(quick.in.held)
						if got != want {
							t.Errorf("the quick one got %d bytes, want all %d at once", len(got), len(want))
						}
					}
					h.End(Drained)
					sender.CloseWrite()
					quick.CloseWrite()
					if tt.reason == Drained {
						slow.CloseWrite()
						if got := <-slowGot; got != frame(0)+tt.want {
							t.Errorf("got %q, want %q", got, frame(0)+tt.want)
						}
						if result := slow.ended(t, Drained); result.Stats.DroppedFrames != tt.dropped || result.Stats.DroppedBytes != 100*tt.dropped {
							t.Errorf("%d frames, %d bytes dropped, want %d frames", result.Stats.DroppedFrames, result.Stats.DroppedBytes, tt.dropped)
						}
					}
					sender.ended(t, Drained)
					if got := quick.text(t); got != want {
						t.Errorf("the quick one got %d bytes, want %d", len(got), len(want))
					}
					quick.ended(t, Drained)
					if used := memory.Used(); used != 0 {
						t.Errorf("%d bytes of memory are still in use", used)
					}
				})
			})
		}
	}
}

func (s *stream) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Empty frames have no bytes, so the queue limits their number.
func TestQueueBoundsEmptyFrames(t *testing.T) {
	var counts hubCounters
	var q queue
	q.begin(Queue{Frames: 3, Policy: DropNewest}, &counts)
	p, err := newSharedFrames(t.Context(), nil, nil, make([]uint32, 10), true)
	if err != nil {
		t.Fatal(err)
	}
	q.push(p.whole())
	p.release()
	if frames, size := q.held(); frames != 3 || size != 0 || counts.droppedFrames.Load() != 7 {
		t.Errorf("got %d frames, %d bytes, %d dropped; want 3, 0, 7", frames, size, counts.droppedFrames.Load())
	}
	q.close()
	if p.buf != nil {
		t.Error("the shared frames were not released")
	}
}

func TestHubViolations(t *testing.T) {
	tests := []struct {
		name        string
		on          OnViolation
		wire        string
		end         bool
		want        string // what the other members get
		reason      Reason // the sender's; "": the sender stays
		violations  int64
		kept        string
		unrepresent int64
	}{
		{"close", CloseSession, "hi\n!bad....ho\n", false, "hi", Violated, 1, "", 0},
		{"skip", Skip, "hi\n!bad....ho\n", false, "hi ho", "", 1, "", 0},
		{"skip, but the codec can't", Skip, "hi\n!!\nho\n", false, "hi", Violated, 1, "", 0},
		{"quarantine", Quarantine, "hi\n!bad....ho\n", false, "hi ho", "", 1, "!bad....", 0},
		{"close inside a frame", CloseSession, "hi\nho", true, "hi", FinMidFrame, 1, "", 0},
		{"skip inside a frame", Skip, "hi\nho", true, "hi", "", 1, "", 0},
		{"close, unrepresentable", CloseSession, "hi\nxx*\nho\n", false, "hi ho", Unrepresentable, 0, "", 1},
		{"skip, unrepresentable", Skip, "hi\nxx*\nho\n", false, "hi ho", "", 0, "", 1},
		{"quarantine, unrepresentable", Quarantine, "hi\nxx*\nho\n", false, "hi ho", "", 0, "xx*", 1},
		{"longer than receivers may get", Skip, "hi\n0123456789012345\nho\n", false, "hi ho", "", 0, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHub(NewMemory(64<<20, time.Minute))
				var kept kept
				violations := 0
				config := with(codec(t, lines{}, 1000))
				config.OnViolation, config.WireBytes = tt.on, 32
				config.Violation = func(Violation) { violations++ }
				config.Quarantine = func(Violation) io.WriteCloser { return &kept }
				sender := join(t, h, config, 1000)
				starless := join(t, h, with(codec(t, stars{}, 10)), 1000)
				other := join(t, h, with(codec(t, counted{}, 1000)), 1000)
				synctest.Wait()
				sender.send([]byte(tt.wire))
				if tt.end {
					sender.CloseWrite()
				}
				synctest.Wait()
				if tt.reason != "" {
					result := sender.ended(t, tt.reason)
					if result.Err == nil || result.Direction != FromMember {
						t.Errorf("got %+v", result)
					}
					if _, err := sender.receive(); !errors.Is(err, errReset) {
						t.Errorf("the sender got %v, want a reset", err)
					}
				}
				stats := sender.member.Stats()
				if stats.Violations != tt.violations || stats.Unrepresentable != tt.unrepresent || violations != 1 {
					t.Errorf("got %+v and %d reports", stats, violations)
				}
				if got := h.Stats().Unrepresentable; got != tt.unrepresent { // each of them could not be carried to one receiver
					t.Errorf("the hub counts %d payloads that can't be represented, want %d", got, tt.unrepresent)
				}
				if got := kept.String(); got != tt.kept {
					t.Errorf("kept %q, want %q", got, tt.kept)
				}
				drain(h, starless, other)
				want := ""
				for _, s := range strings.Fields(tt.want) {
					want += s + "*"
				}
				if got := starless.text(t); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				starless.ended(t, Drained)
				got := other.text(t)
				if tt.unrepresent > 0 && strings.Count(got, "\x00\x00\x00") != 3 {
					t.Errorf("who can carry everything got %q, want three frames", got)
				}
				other.ended(t, Drained)
				if tt.reason == "" {
					sender.CloseWrite()
					sender.ended(t, Drained)
				}
			})
		})
	}
}

// stars ends each payload with a star.
type stars struct{}

func (stars) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	pos := 0
	for {
		i := bytes.IndexByte(in.Bytes[pos:], '*')
		if i < 0 {
			if in.EOF && pos < len(in.Bytes) {
				return pos, &codecs.Fault{Offset: pos, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a star", Resume: len(in.Bytes)}
			}
			return pos, nil
		}
		if err := out.Refer(pos, pos+i); err != nil {
			return pos, err
		}
		pos += i + 1
	}
}

func (stars) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, '*'); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no star"}
		}
		b, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(b, payload...), '*')); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

func TestHubTimeouts(t *testing.T) {
	tests := []struct {
		name     string
		timeouts Timeouts
		do       func(p, other *peer)
		reason   Reason
		after    time.Duration
	}{
		{"nothing ever", Timeouts{Idle: time.Minute}, func(*peer, *peer) {}, IdleTimeout, time.Minute},
		{"what it receives keeps it", Timeouts{Idle: time.Minute}, func(_, other *peer) {
			time.Sleep(50 * time.Second)
			other.send([]byte("hi\n"))
		}, IdleTimeout, 110 * time.Second},
		{"an unfinished frame", Timeouts{Frame: time.Minute}, func(p, _ *peer) {
			p.send([]byte("hi\n"))
			time.Sleep(30 * time.Second)
			p.send([]byte("x"))
		}, FrameTimeout, 90 * time.Second},
		{"a receiver that takes nothing", Timeouts{Write: time.Minute}, func(_, other *peer) {
			other.send([]byte("0123456789\n0123456789\n"))
		}, WriteTimeout, time.Minute},
		{"half closed, and nothing is written", Timeouts{HalfClose: time.Minute}, func(p, other *peer) {
			p.CloseWrite()
			time.Sleep(50 * time.Second)
			other.send([]byte("hi\n"))
		}, HalfCloseTimeout, 110 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHub(nil)
				c := codec(t, lines{}, 1000)
				config := with(c)
				config.Timeouts = tt.timeouts
				began := time.Now()
				p, other := join(t, h, config, 15), join(t, h, with(c), 1000)
				synctest.Wait()
				tt.do(p, other)
				p.ended(t, tt.reason)
				if took := time.Since(began); took != tt.after {
					t.Errorf("ended after %v, want %v", took, tt.after)
				}
				if _, err := p.receive(); !errors.Is(err, errReset) {
					t.Errorf("got %v, want a reset", err)
				}
				drain(h, other)
				other.ended(t, Drained)
			})
		})
	}
}

func TestHubMembersEnd(t *testing.T) {
	t.Run("a reset", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			p := join(t, h, with(codec(t, lines{}, 10)), 100)
			p.Reset()
			if result := p.ended(t, Reset); result.Err == nil || result.Direction != FromMember {
				t.Errorf("got %+v", result)
			}
		})
	})
	t.Run("a context with a reason", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			config := with(codec(t, lines{}, 10))
			var peers *link
			config.Link, peers = connected(100)
			m, err := h.Stream(config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(Drained) })
			if result := m.Run(ctx); result.Reason != Drained {
				t.Errorf("got %+v, want drained", result)
			}
			if _, err := peers.receive(); !errors.Is(err, errReset) {
				t.Errorf("got %v, want a reset", err)
			}
		})
	})
	t.Run("a receiver's codec fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			c := codec(t, lines{}, 10)
			sender, good := join(t, h, with(c), 100), join(t, h, with(c), 100)
			bad := join(t, h, with(&brokenEncoder{c}), 100)
			synctest.Wait()
			sender.send([]byte("hi\n"))
			bad.ended(t, CodecFailed)
			drain(h, sender, good)
			if got := good.text(t); got != "hi\n" {
				t.Errorf("got %q", got)
			}
			sender.ended(t, Drained)
			good.ended(t, Drained)
		})
	})
	t.Run("the sender's codec fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			sender := join(t, h, with(&failing{codec(t, lines{}, 10), 0}), 100)
			sender.send([]byte("hi\n"))
			sender.ended(t, CodecFailed)
		})
	})
	t.Run("no memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := NewMemory(3*allowance, time.Minute)
			h := NewHub(memory)
			c := codec(t, lines{}, 1<<20)
			sender, other := join(t, h, with(c), 1<<20), join(t, h, with(c), 1<<20)
			synctest.Wait()
			sender.send(append(bytes.Repeat([]byte("x"), 300_000), '\n'))
			sender.ended(t, MemoryShort)
			third := join(t, h, with(c), 1<<20) // short frames pass
			synctest.Wait()
			third.send([]byte("hi\n"))
			synctest.Wait()
			drain(h, other, third)
			if got := other.text(t); got != "hi\n" {
				t.Errorf("got %q, want what the third member sent", got)
			}
			other.ended(t, Drained)
			third.ended(t, Drained)
			if used := memory.Used(); used != 0 {
				t.Errorf("%d bytes of memory are still in use", used)
			}
		})
	})
}

type brokenEncoder struct{ codeccall.Codec }

type brokenDirection struct{ codeccall.Direction }

func (b *brokenEncoder) Open() codeccall.Direction { return brokenDirection{b.Codec.Open()} }

func (brokenDirection) Encode(context.Context, *codeccall.Encode, *codeccall.Encoded) error {
	return fmt.Errorf("%w: no process", codeccall.ErrCodecFailed)
}

func TestHubDrain(t *testing.T) {
	t.Run("peers that do not end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			p := join(t, h, with(codec(t, lines{}, 10)), 100)
			synctest.Wait()
			began := time.Now()
			h.End(Drained)
			h.End(Drained) // the first counts
			p.ended(t, Drained)
			if took := time.Since(began); took != lingerTime {
				t.Errorf("ended after %v, want %v", took, lingerTime)
			}
			if got := p.text(t); got != "" {
				t.Errorf("got %q, want a clean end", got)
			}
		})
	})
	t.Run("a queue is written to its end, and what comes later is discarded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			c := codec(t, lines{}, 10)
			sender, slow := join(t, h, with(c), 1000), join(t, h, with(c), 1000)
			synctest.Wait()
			slow.in.limit = 1
			sender.send(bytes.Repeat([]byte("hi\n"), 100))
			synctest.Wait()
			h.End(Drained)
			synctest.Wait()
			sender.send([]byte("too late\n"))
			sender.CloseWrite()
			if result := sender.ended(t, Drained); result.Stats.BytesDiscarded != 9 {
				t.Errorf("got %+v, want 9 bytes discarded", result)
			}
			slow.CloseWrite()
			if got := slow.text(t); got != strings.Repeat("hi\n", 100) {
				t.Errorf("got %d bytes, want 300", len(got))
			}
			slow.ended(t, Drained)
		})
	})
	t.Run("while a sender waits for a receiver", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			c := codec(t, lines{}, 10)
			blocking := with(c)
			blocking.Queue = Queue{Frames: 1, Policy: Block}
			sender, slow := join(t, h, with(c), 1000), join(t, h, blocking, 1000)
			synctest.Wait()
			slow.in.limit = 1
			for range 50 {
				sender.send([]byte("hi\nho\n"))
				synctest.Wait()
			}
			h.End(Drained)
			synctest.Wait()
			sender.CloseWrite()
			slow.CloseWrite()
			got := slow.text(t)
			if got == "" || !strings.HasPrefix(strings.Repeat("hi\nho\n", 50), got) || len(got)%6 != 0 {
				t.Errorf("got %q, want whole batches", got)
			}
			if result := sender.ended(t, Drained); result.Stats.BytesDiscarded+int64(len(got)) != 300 {
				t.Errorf("%d bytes arrived and %d were discarded, of 300", len(got), result.Stats.BytesDiscarded)
			}
			slow.ended(t, Drained)
		})
	})
	t.Run("cut short", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(nil)
			c := codec(t, lines{}, 10)
			sender := join(t, h, with(c), 1000)
			config := with(c)
			var peers *link
			config.Link, peers = connected(1)
			m, err := h.Stream(config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan MemberResult)
			go func() { result <- m.Run(ctx) }()
			synctest.Wait()
			sender.send([]byte("hi\n"))
			synctest.Wait()
			drain(h, sender)
			sender.ended(t, Drained)
			cancel()
			if got := <-result; got.Reason != Drained {
				t.Errorf("got %+v, want drained", got)
			}
			if _, err := peers.receive(); !errors.Is(err, errReset) {
				t.Errorf("got %v, want a reset", err)
			}
		})
	})
}

// A sender that waits for a receiver can still be ended.
func TestHubEndsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(64<<20, time.Minute)
		h := NewHub(memory)
		c := codec(t, lines{}, 1000)
		blocking, impatient := with(c), with(c)
		blocking.Queue = Queue{Frames: 1, Policy: Block}
		impatient.Timeouts.Idle = time.Minute
		sender, slow := join(t, h, impatient, 1000), join(t, h, blocking, 1)
		synctest.Wait()
		sender.send([]byte("one\ntwo\n"))
		synctest.Wait()
		sender.send([]byte("one\ntwo\n"))
		sender.ended(t, IdleTimeout)
		slow.Close()
		slow.ended(t, IOError)
		if stats := h.Stats(); stats.DroppedFrames == 0 || stats.Members != 0 {
			t.Errorf("got %+v, want what was left in the queue to count as dropped", stats)
		}
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// Frames that are longer than a read or a queue arrive too, with short frames between them.
func TestHubLongFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(16<<20, time.Minute)
		h := NewHub(memory)
		blocking := with(codec(t, lines{}, 1<<20))
		blocking.Queue = Queue{Bytes: 1000, Policy: Block}
		sender, receiver := join(t, h, with(codec(t, counted{built: true}, 1<<20)), 10_000), join(t, h, blocking, 10_000)
		var sent, want []byte
		for i := range 12 {
			payload := bytes.Repeat([]byte{byte('a' + i)}, 1+(i%3)*300_000)
			sent = append(sent, wire(t, counted{built: true}, payload)...)
			want = append(append(want, payload...), '\n')
		}
		synctest.Wait()
		got := make(chan string)
		go func() { got <- receiver.text(t) }()
		sender.send(sent)
		synctest.Wait()
		drain(h, sender, receiver)
		compare(t, "the receiver", []byte(<-got), want)
		sender.ended(t, Drained)
		receiver.ended(t, Drained)
		if used := memory.Used(); used != 0 {
			t.Errorf("%d bytes of memory are still in use", used)
		}
	})
}

// The direction that a member's Use excludes is ended in its link if Shutdown is set.
func TestHubShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		giving, taking := with(codec(t, lines{}, 100)), with(codec(t, lines{}, 100))
		giving.Use, giving.Shutdown = ReceiveOnly, true
		taking.Use, taking.Shutdown = SendOnly, true
		one, two := join(t, h, giving, 100), join(t, h, taking, 100)
		if got := one.text(t); got != "" {
			t.Errorf("the one that gives got %q, want an end at once", got)
		}
		synctest.Wait()
		one.send([]byte("hi\n"))
		synctest.Wait()
		drain(h, one)
		if got := two.text(t); got != "hi\n" {
			t.Errorf("the one that takes got %q", got)
		}
		one.ended(t, Drained)
		two.ended(t, Drained)
	})
}

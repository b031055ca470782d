package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A calling codec counts decode calls. With single set, it does not skip within a call.
type calling struct {
	codeccall.Codec
	single bool
	calls  atomic.Int64
}

type callingDirection struct {
	codeccall.Direction
	codec *calling
}

func (c *calling) Open() codeccall.Direction { return callingDirection{c.Codec.Open(), c} }

func (d callingDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	d.codec.calls.Add(1)
	if d.codec.single {
		one := *in
		one.Skips = 0
		in = &one
	}
	return d.Direction.Decode(ctx, in, out)
}

const bang = "!bang..." // a faulty frame of lines: eight bytes

// skipping runs a session that skips violations, and returns it with its codec and its reports.
func skipping(t *testing.T, single bool, limits Timeouts) (*relayed, *calling, *[]string) {
	config := translating(t)
	from := &calling{Codec: config.Downstream.Codec, single: single}
	var reported []string
	config.Downstream.Codec, config.OnViolation, config.Timeouts = from, Skip, limits
	config.Violation = func(v Violation) {
		reported = append(reported, fmt.Sprintf("%d at %d after %d: %s %t", v.Offset, v.At, v.Frame, v.Bytes, v.Skipped))
	}
	return start(t.Context(), t, config, 1<<20), from, &reported
}

func TestManyViolationsInOneCall(t *testing.T) {
	const many = 500
	wire := "a\n" + strings.Repeat(bang, many/2) + "b\nc\n" + strings.Repeat(bang, many/2) + "d\n"
	type outcome struct {
		got      string
		reported []string
		stats    FlowStats
		calls    int64
	}
	run := func(single bool) (o outcome) {
		synctest.Test(t, func(t *testing.T) {
			r, from, reported := skipping(t, single, Timeouts{})
			r.down.send([]byte(wire))
			synctest.Wait()
			o.calls = from.calls.Load()
			r.down.CloseWrite()
			r.up.CloseWrite()
			got, _ := r.up.receive()
			o.got, o.stats, o.reported = string(got), (<-r.result).Stats.ToUpstream, *reported
		})
		return o
	}
	one, all := run(true), run(false)
	if all.got != one.got || !slices.Equal(all.reported, one.reported) || all.stats != one.stats {
		t.Errorf("skipped in one call:\n got  %q, %+v, %d reports\n want %q, %+v, %d reports", all.got, all.stats, len(all.reported),
			one.got, one.stats, len(one.reported))
	}
	if all.stats.Violations != many || all.stats.BytesSkipped != int64(many*len(bang)) || len(all.reported) != many {
		t.Errorf("got %+v and %d reports, want %d violations of %d bytes", all.stats, len(all.reported), many, len(bang))
	}
	if all.calls > 3 || one.calls < many {
		t.Errorf("got %d calls, and %d where none skips, want 3 at most, and %d at least", all.calls, one.calls, many)
	}
}

// Violations are read only as fast as their cost allows, and no timeout runs meanwhile.
func TestGarbageIsReadSlowly(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single=%t", single), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, reported := skipping(t, single, Timeouts{Frame: time.Second})
				points := 3 * garbagePoints // the points that are free at first, and those of two seconds
				violations := points
				if single {
					violations /= callPoints
				}
				began := time.Now()
				r.down.send([]byte(strings.Repeat(bang, violations) + "end\n"))
				got := make([]byte, 100)
				n, err := r.up.Read(func() []byte { return got }, func([]byte) {})
				if string(got[:n]) != "\x00\x00\x00\x03end" || err != nil {
					t.Errorf("got %q, %v", got[:n], err)
				}
				if took := time.Since(began); took < 1900*time.Millisecond || took > 2200*time.Millisecond {
					t.Errorf("%d violations took %v, want 2s", violations, took)
				}
				r.down.CloseWrite()
				r.up.CloseWrite()
				if result := <-r.result; result.Reason != Fin || len(*reported) != violations {
					t.Errorf("got %+v and %d reports, want fin and %d", result, len(*reported), violations)
				}
			})
		})
	}
}

// A session that pauses because of violations ends as soon as any other.
func TestGarbageEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		config := translating(t)
		config.OnViolation = Skip
		r := start(ctx, t, config, 1<<20)
		r.down.send([]byte(strings.Repeat(bang, 100_000)))
		time.Sleep(5 * time.Second)
		began := time.Now()
		cancel(Drained)
		if result := <-r.result; result.Reason != Drained || time.Since(began) > 0 {
			t.Errorf("got %v after %v, want drained at once", result.Reason, time.Since(began))
		}
	})
}

// A breakable link can be broken while it has unread bytes.
type breakable struct {
	Link
	broken atomic.Bool
}

func (b *breakable) Lost() error {
	if b.broken.Load() {
		return errReset
	}
	return nil
}

// After a sender of violations has reset its connection, its unread bytes are not read.
func TestGarbageOfOneWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := translating(t)
		config.OnViolation, config.Classify = Skip, classify
		ours, down := connect(1 << 20)
		link := &breakable{Link: ours}
		config.Downstream.Link = link
		upstream, up := connect(1 << 20)
		config.Upstream.Link = upstream
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan Result, 1)
		go func() { result <- s.Run(t.Context()) }()
		down.send([]byte("first\n" + strings.Repeat(bang, 100_000)))
		time.Sleep(2 * time.Second)
		began := time.Now()
		link.broken.Store(true)
		got := <-result
		if got.Reason != Reset || time.Since(began) > lostEvery || got.Stats.ToUpstream.Violations > 4*garbagePoints {
			t.Errorf("got %v after %v and %d violations, want reset within %v", got.Reason, time.Since(began), got.Stats.ToUpstream.Violations, lostEvery)
		}
		if wire, err := up.receive(); string(wire) != "\x00\x00\x00\x05first" || errors.Is(err, io.EOF) || err == nil {
			t.Errorf("got %q, %v; want what was whole, and a reset", wire, err)
		}
	})
}

// A sender of datagrams can't be made to wait: after too many violations, the first violation ends its datagram, until enough time has
// passed.
func TestGarbageInDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(nil)
		there, here := newLAN(), newLAN()
		device, listener := there.socket(), here.socket()
		c := &calling{Codec: codec(t, lines{}, 1000), single: true}
		config := onLAN(there, c)
		config.OnViolation = Skip
		one, two := joinLAN(t, h, config), joinLAN(t, h, onLAN(here, nil))
		synctest.Wait()

		const most = garbagePoints / callPoints
		device.send(strings.Repeat(bang, most-1) + "paid\n")
		synctest.Wait() // datagrams that arrive together are decoded at the same time
		device.send(bang + bang + bang + "not paid\n")
		synctest.Wait()
		if calls := c.calls.Load(); calls > most+5 {
			t.Errorf("got %d calls, want at most %d", calls, most+5)
		}
		time.Sleep(time.Second)
		device.send(bang + "paid again\n")
		synctest.Wait()
		if got, want := listener.heard(), []string{"paid", "paid again"}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		h.End(Drained)
		if stats := one.ended(t, Drained).Stats; stats.BytesSkipped != int64((most+3)*len(bang)+len("not paid\n")) {
			t.Errorf("got %d bytes skipped, want all of the garbage and the frame after it", stats.BytesSkipped)
		}
		two.ended(t, Drained)
	})
}

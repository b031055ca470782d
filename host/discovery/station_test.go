package discovery

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// broken is a Transport that fails to send and to receive until mended is set.
type broken struct {
	*host
	mended atomic.Bool
	tried  atomic.Int64 // calls of Receive
}

var errBroken = errors.New("broken")

func (b *broken) Send(packet []byte) error {
	if !b.mended.Load() {
		return errBroken
	}
	return b.host.Send(packet)
}

func (b *broken) Receive(buf []byte) (int, Origin, error) {
	if b.tried.Add(1); !b.mended.Load() {
		return 0, Origin{}, errBroken
	}
	return b.host.Receive(buf)
}

func TestTransportFails(t *testing.T) {
	onLAN(t, func(c *crew) {
		transport := &broken{host: c.lan.host("10.0.0.1")}
		var calls atomic.Int64
		s, err := NewStation(transport, StationOptions{Failed: func(err error) {
			if !errors.Is(err, errBroken) {
				t.Errorf("got %v, want %v", err, errBroken)
			}
			calls.Add(1)
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.start(func(ctx context.Context) {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		c.announcer(s, scales())
		_, d := c.browser(s, BrowserOptions{})
		pass(10 * time.Second)
		c.wantChanges(d)
		stats := s.Stats()
		if stats.ReceiveFailed < 90 || stats.ReceiveFailed > 101 || stats.SendFailed == 0 || stats.SendFailed != stats.Sent {
			t.Errorf("got %+v, want every sending and ten receivings a second failed", stats)
		}
		if calls.Load() != stats.ReceiveFailed+stats.SendFailed {
			t.Errorf("got %d calls of Failed, want %d", calls.Load(), stats.ReceiveFailed+stats.SendFailed)
		}
		transport.mended.Store(true)
		pass(2 * DefaultInterval)
		c.wantChanges(d, Appeared)
	})
}

func TestTransportIsClosedBySomebody(t *testing.T) {
	onLAN(t, func(c *crew) {
		h := c.lan.host("10.0.0.1")
		s, err := NewStation(h, StationOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAnnouncer(s, AnnouncerOptions{Service: Service{Name: "scales", Port: 1}})
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan struct{})
		c.start(func(ctx context.Context) { a.Run(ctx); close(left) })
		ended := make(chan error)
		c.start(func(ctx context.Context) { ended <- s.Run(ctx) })
		synctest.Wait()
		h.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
		<-left
	})
}

func TestIgnoredReasons(t *testing.T) {
	onLAN(t, func(c *crew) {
		ignored := map[error]int{}
		o := signed()
		o.Ignored = func(from Origin, err error) {
			for _, kind := range []error{ErrMalformed, ErrVersion, ErrUnsigned, ErrForged, ErrStale, ErrRepeated} {
				if errors.Is(err, kind) && from.Address.Addr() == attacker {
					ignored[kind]++
				}
			}
		}
		s := c.station(c.lan.host("10.0.0.1"), o)
		c.browser(s, BrowserOptions{})
		other, err := newKey(testKey(2))
		if err != nil {
			t.Fatal(err)
		}
		id := newID()
		for _, packet := range [][]byte{
			[]byte("hello"),
			[]byte("FHD\x02"),
			announcement(newID(), 1, time.Now(), nil, "scales"),
			announcement(newID(), 1, time.Now(), other, "scales"),
			announcement(newID(), 1, time.Now().Add(-time.Hour), s.key, "scales"),
			announcement(id, 1, time.Now(), s.key, "scales"),
			announcement(id, 1, time.Now(), s.key, "scales"),
		} {
			c.lan.send(packet, attacker)
		}
		synctest.Wait()
		if len(ignored) != 6 {
			t.Errorf("got %v, want each once", ignored)
		}
		for kind, n := range ignored {
			if n != 1 {
				t.Errorf("%v: got %d, want 1", kind, n)
			}
		}
	})
}

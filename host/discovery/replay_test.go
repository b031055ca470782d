package discovery

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func signed() StationOptions { return StationOptions{Key: testKey(1)} }

// off returns a clock that is wrong by the duration in by.
func off(by *atomic.Int64) func() time.Time {
	return func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
}

var attacker = netip.MustParseAddr("10.0.0.66")

func TestKeys(t *testing.T) {
	with := func(b byte) StationOptions { return StationOptions{Key: testKey(b)} }
	tests := []struct {
		name               string
		announcer, browser StationOptions
		found, known       bool // known: the Announcer accepts queries of the Browser
		unsigned, forged   bool // counted by the Browser's Station
	}{
		{"no keys", StationOptions{}, StationOptions{}, true, true, false, false},
		{"the same key", with(1), with(1), true, true, false, false},
		{"another key", with(1), with(2), false, false, false, true},
		{"an announcer without one", StationOptions{}, with(1), false, true, true, false},
		{"a browser without one", with(1), StationOptions{}, true, false, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onLAN(t, func(c *crew) {
				a, stop := c.announcer(c.station(c.lan.host("10.0.0.1"), test.announcer), scales())
				s := c.station(c.lan.host("10.0.0.2"), test.browser)
				b, d := c.browser(s, BrowserOptions{})
				pass(30 * time.Second)
				known := b.Services()
				if got := len(known) == 1; got != test.found {
					t.Errorf("found: got %v, want %v", got, test.found)
				}
				if test.found && known[0].Signed != (test.browser.Key != nil) {
					t.Errorf("signed: got %v", known[0].Signed)
				}
				if got := a.Stats().Queries > 0; got != test.known {
					t.Errorf("queries were heard: got %v, want %v", got, test.known)
				}
				stats := s.Stats()
				if stats.Unsigned > 0 != test.unsigned || stats.Forged > 0 != test.forged {
					t.Errorf("got %d unsigned, %d forged, want any: %v, %v", stats.Unsigned, stats.Forged, test.unsigned, test.forged)
				}
				stop()
				synctest.Wait()
				if got := len(d.kinds()) > 0; got != test.found {
					t.Errorf("changes: got %v, want %v", got, test.found)
				}
			})
		})
	}
}

// A signed packet with any byte changed is ignored.
func TestChangedOnTheWay(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.2"), signed())
		b, d := c.browser(s, BrowserOptions{})
		packet := announcement(newID(), 1, time.Now(), s.key, "scales")
		for i := range packet {
			for bit := range 8 {
				changed := append([]byte(nil), packet...)
				changed[i] ^= 1 << bit
				c.lan.send(changed, attacker)
			}
		}
		synctest.Wait()
		c.wantChanges(d)
		c.lan.send(packet, attacker)
		synctest.Wait()
		c.wantChanges(d, Appeared)
		if got := b.Stats().Accepted; got != 1 {
			t.Errorf("got %d accepted, want 1", got)
		}
	})
}

func TestReplay(t *testing.T) {
	onLAN(t, func(c *crew) {
		_, stop := c.announcer(c.station(c.lan.host("10.0.0.1"), signed()), scales())
		b, d := c.browser(c.station(c.lan.host("10.0.0.2"), signed()), BrowserOptions{})
		pass(time.Minute)
		c.wantChanges(d, Appeared)
		recorded := c.lan.kindsOf(announce)

		for _, p := range recorded {
			c.lan.send(p.packet, attacker)
		}
		synctest.Wait()
		if got := b.Services()[0].Origin.Address.Addr(); got == attacker {
			t.Error("while it lives: got the thief's address")
		}
		stop()
		synctest.Wait()
		c.wantChanges(d, Left)
		goodbyes := c.lan.kindsOf(goodbye)
		refused := b.Stats()
		waits := []time.Duration{0, time.Second, DefaultWindow - 2*time.Second, 2 * time.Second, DefaultWindow, time.Hour}
		for _, wait := range waits {
			pass(wait)
			for _, p := range append(recorded, goodbyes...) {
				c.lan.send(p.packet, attacker)
			}
			synctest.Wait()
		}
		c.wantChanges(d)
		got := b.Stats()
		if n := int64(len(waits) * (len(recorded) + len(goodbyes))); got.Repeated+got.Stale-refused.Repeated-refused.Stale != n {
			t.Errorf("got %+v after %+v, want %d packets refused", got, refused, n)
		}

		late, changes := c.browser(c.station(c.lan.host("10.0.0.3"), signed()), BrowserOptions{})
		for _, p := range recorded {
			c.lan.send(p.packet, attacker)
		}
		pass(time.Minute)
		c.wantChanges(changes)
		if got := late.Stats().Stale; got != int64(len(recorded)) {
			t.Errorf("a browser that knows nothing: got %d stale, want %d", got, len(recorded))
		}
	})
}

// A packet that an attacker holds back is ignored later, although its sequence number was never heard.
func TestHeldBack(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.2"), signed())
		_, d := c.browser(s, BrowserOptions{})
		id := newID()
		held := announcement(id, 100, time.Now(), s.key, "scales")
		c.lan.send(announcement(id, 1, time.Now(), s.key, "scales"), attacker)
		pass(time.Minute)
		c.wantChanges(d, Appeared, Expired)
		c.lan.send(held, attacker)
		pass(time.Minute)
		c.wantChanges(d)
	})
}

func TestClocks(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour, DefaultWindow + time.Second} {
		t.Run(by.String(), func(t *testing.T) {
			onLAN(t, func(c *crew) {
				wrong := signed()
				var shift atomic.Int64
				shift.Store(int64(by))
				wrong.Now = off(&shift)
				_, stop := c.announcer(c.station(c.lan.host("10.0.0.1"), wrong), scales())
				b, d := c.browser(c.station(c.lan.host("10.0.0.2"), signed()), BrowserOptions{})
				pass(2 * time.Second)
				c.wantChanges(d, Appeared) // because its answer echoes a nonce
				pass(20 * time.Minute)
				c.wantChanges(d)
				if got := b.Stats(); got.Accepted < 100 || got.Stale > 3 || got.Queries > 40 {
					t.Errorf("got %+v, want it believed from its first answer on", got)
				}
				recorded := c.lan.kindsOf(announce)
				stop()
				synctest.Wait()
				c.wantChanges(d, Left)
				for range 10 {
					for _, p := range recorded {
						c.lan.send(p.packet, attacker)
					}
					pass(time.Minute)
				}
				c.wantChanges(d)
			})
		})
	}
}

// When the clock of a known service jumps, the Browser sends a query, and the service stays known.
func TestClockIsSet(t *testing.T) {
	onLAN(t, func(c *crew) {
		wrong := signed()
		var shift atomic.Int64
		wrong.Now = off(&shift)
		c.announcer(c.station(c.lan.host("10.0.0.1"), wrong), scales())
		b, d := c.browser(c.station(c.lan.host("10.0.0.2"), signed()), BrowserOptions{})
		pass(time.Minute)
		for _, by := range []time.Duration{time.Hour, -time.Hour, 0} {
			shift.Store(int64(by))
			pass(10 * time.Minute)
		}
		c.wantChanges(d, Appeared)
		if n := b.Stats().Stale; n > 12 {
			t.Errorf("got %d stale packets, want one or two each time", n)
		}
	})
}

// Without a key, the time of a packet is not checked, but its sequence number is.
func TestUnsignedOrder(t *testing.T) {
	onLAN(t, func(c *crew) {
		_, d := c.browser(c.station(c.lan.host("10.0.0.2"), StationOptions{}), BrowserOptions{})
		id := newID()
		c.lan.send(announcement(id, 2, time.Unix(0, 0), nil, "scales"), attacker)
		synctest.Wait()
		c.wantChanges(d, Appeared)
		c.lan.send(finish(appendHeader(nil, goodbye, id, 4, 0), nil), attacker)
		c.lan.send(announcement(id, 3, time.Now(), nil, "scales"), attacker)
		synctest.Wait()
		c.wantChanges(d, Left)
	})
}

// A goodbye overtakes the first announcement of a service.
func TestGoodbyeComesFirst(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.2"), signed())
		_, d := c.browser(s, BrowserOptions{})
		id := newID()
		packet := announcement(id, 1, time.Now(), s.key, "scales")
		c.lan.send(finish(appendHeader(nil, goodbye, id, 2, time.Now().UnixMilli()), s.key), attacker)
		c.lan.send(packet, attacker)
		pass(2*DefaultWindow + time.Second)
		c.lan.send(packet, attacker)
		synctest.Wait()
		c.wantChanges(d)
	})
}

func TestTombstonesAreBounded(t *testing.T) {
	s := tombstones{all: map[ID]tombstone{}, limit: 3, window: DefaultWindow}
	ids := make([]ID, 5)
	for i := range ids {
		ids[i] = newID()
		s.add(ids[i], history{sequence: 1, sent: int64(1000 - i)}, 0) // the later ones have an earlier until, so they are dropped first
	}
	for i, id := range ids {
		if _, ok := s.all[id]; ok != (i < 2 || i == 4) {
			t.Errorf("%d: got remembered %v", i, ok)
		}
	}
	s.add(newID(), history{sequence: 1}, 1_000_000)
	if len(s.all) != 1 {
		t.Errorf("got %d remembered after their time, want 1", len(s.all))
	}
}

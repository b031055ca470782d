package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFindsAll(t *testing.T) {
	onLAN(t, func(c *crew) {
		var want []Found
		for i := range byte(5) {
			address := netip.AddrFrom4([4]byte{10, 0, 0, 1 + i})
			o := AnnouncerOptions{Service: Service{
				Name: "scales", Network: NetworkTLS, Port: 7001, Codec: "mainframe", Labels: map[string]string{"hall": fmt.Sprint(i), "": ""},
			}}
			delete(o.Service.Labels, "")
			a, _ := c.announcer(c.station(c.lan.host(address.String()), StationOptions{}), o)
			want = append(want, Found{
				Service: o.Service, ID: a.ID(),
				Addresses: []netip.AddrPort{netip.AddrPortFrom(address, 7001)},
				Origin:    Origin{netip.AddrPortFrom(address, DefaultPort), "lan0"},
			})
		}
		c.announcer(c.station(c.lan.host("10.0.0.99"), StationOptions{}), AnnouncerOptions{Service: Service{Name: "other"}})
		pass(5 * time.Second)
		b, d := c.browser(c.station(c.lan.host("10.0.0.100"), StationOptions{}), BrowserOptions{Service: "scales"})
		pass(firstQuery + answerAfter + answerJitter)
		got := b.Services()
		for i := range got {
			if got[i].Expires.IsZero() {
				t.Error("got no time of expiry")
			}
			got[i].Expires = time.Time{}
		}
		slices.SortFunc(want, func(x, y Found) int { return slices.Compare(x.ID[:], y.ID[:]) })
		if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
		c.wantChanges(d, Appeared, Appeared, Appeared, Appeared, Appeared)
		pass(time.Hour)
		c.wantChanges(d)
		if n := b.Stats().Queries; n > 70 {
			t.Errorf("got %d queries in an hour in which nothing happened, want about 65", n)
		}
	})
}

func TestGoodbye(t *testing.T) {
	onLAN(t, func(c *crew) {
		b, d := c.browser(c.station(c.lan.host("10.0.0.2"), StationOptions{}), BrowserOptions{})
		_, stop := c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), scales())
		pass(time.Second)
		c.wantChanges(d, Appeared)
		stop()
		synctest.Wait()
		c.wantChanges(d, Left)
		if got := b.Services(); len(got) != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	})
}

func TestVanished(t *testing.T) {
	onLAN(t, func(c *crew) {
		h := c.lan.host("10.0.0.1")
		c.announcer(c.station(h, StationOptions{}), scales())
		b, d := c.browser(c.station(c.lan.host("10.0.0.2"), StationOptions{}), BrowserOptions{})
		pass(time.Minute)
		c.wantChanges(d, Appeared)
		h.unplug(true)
		asked := b.Stats().Queries
		left := time.Until(b.Services()[0].Expires)
		pass(left - time.Millisecond)
		c.wantChanges(d)
		if n := b.Stats().Queries; n == asked {
			t.Error("got no query before the service expired, want one")
		}
		pass(time.Millisecond)
		c.wantChanges(d, Expired)
		h.unplug(false)
		pass(DefaultInterval * 11 / 10)
		c.wantChanges(d, Appeared)
	})
}

func TestUpdated(t *testing.T) {
	onLAN(t, func(c *crew) {
		var addresses atomic.Pointer[[]netip.Addr]
		o := scales()
		o.Addresses = func() []netip.Addr { return *addresses.Load() }
		announced := func(a ...string) {
			var parsed []netip.Addr
			for _, s := range a {
				parsed = append(parsed, netip.MustParseAddr(s))
			}
			addresses.Store(&parsed)
		}
		announced()
		c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), o)
		b, d := c.browser(c.station(c.lan.host("10.0.0.2"), StationOptions{}), BrowserOptions{})
		pass(5 * time.Second)
		c.wantChanges(d, Appeared)
		steps := []struct {
			name            string
			announced, want []string
		}{
			{"others than that of the packet", []string{"10.0.0.7", "fd00::7"}, []string{"10.0.0.7:7001", "[fd00::7]:7001"}},
			{"that of the packet comes first", []string{"10.0.0.7", "10.0.0.8", "10.0.0.1"}, []string{"10.0.0.1:7001", "10.0.0.7:7001", "10.0.0.8:7001"}},
			{"not our own loopback", []string{"127.0.0.1", "10.0.0.7"}, []string{"10.0.0.7:7001"}},
			{"a link's own address is on its link", []string{"fe80::1"}, []string{"[fe80::1%lan0]:7001"}},
			{"what can't be an address of a host", []string{"0.0.0.0", "224.0.0.1", "10.0.0.7"}, []string{"10.0.0.7:7001"}},
		}
		for _, step := range steps {
			announced(step.announced...)
			pass(DefaultInterval * 11 / 10)
			c.wantChanges(d, Updated)
			var got []string
			for _, a := range b.Services()[0].Addresses {
				got = append(got, a.String())
			}
			if !slices.Equal(got, step.want) {
				t.Errorf("%s: got %v, want %v", step.name, got, step.want)
			}
		}
		announced("127.0.0.1")
		pass(time.Minute)
		c.wantChanges(d, Expired)
		if b.Stats().Unreachable == 0 {
			t.Error("got none counted as unreachable")
		}
	})
}

// Copies of the same packets over two interfaces, in any order, cause no changes.
func TestSeveralInterfaces(t *testing.T) {
	onLAN(t, func(c *crew) {
		h := c.lan.host("10.0.0.1", "10.0.0.2")
		c.announcer(c.station(h, StationOptions{}), scales())
		b, d := c.browser(c.station(c.lan.host("10.0.0.9"), StationOptions{}), BrowserOptions{})
		pass(time.Minute)
		c.wantChanges(d, Appeared)
		h.move("10.0.0.2", "10.0.0.1") // reverse the order
		pass(time.Minute)
		c.wantChanges(d)
		if got := b.Stats(); got.Repeated != got.Accepted {
			t.Errorf("got %d repeated of %d, want each once", got.Repeated, got.Accepted)
		}
		h.move("10.0.0.2") // the other interface went down
		pass(time.Minute)
		c.wantChanges(d, Updated)
		if got, want := b.Services()[0].Addresses[0].String(), "10.0.0.2:7001"; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestIgnoresItself(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.1"), StationOptions{})
		own, _ := c.announcer(s, scales())
		sister, _ := c.announcer(s, scales())
		b, _ := c.browser(s, BrowserOptions{Ignore: []ID{own.ID()}})
		pass(5 * time.Second)
		if got := b.Services(); len(got) != 1 || got[0].ID != sister.ID() {
			t.Errorf("got %v, want %v alone", got, sister.ID())
		}
	})
}

// announcement returns the announcement of a service without an Announcer.
func announcement(id ID, sequence uint64, sent time.Time, key *key, service string) []byte {
	b := appendNonces(appendHeader(nil, announce, id, sequence, sent.UnixMilli()), nil)
	return finish(appendRecord(b, &Service{Name: service, Network: NetworkTCP, Port: 1}, 60_000, nil), key)
}

func TestFull(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.1"), StationOptions{})
		b, d := c.browser(s, BrowserOptions{MaxServices: 10, MaxPerAddress: 4})
		say := func(from string, n int) {
			for range n {
				c.lan.send(announcement(newID(), 1, time.Now(), nil, "scales"), netip.MustParseAddr(from))
			}
			synctest.Wait()
		}
		steps := []struct {
			from        string
			n           int
			known, full int
		}{
			{"10.0.0.2", 5, 4, 1},
			{"10.0.0.3", 4, 8, 1},
			{"10.0.0.4", 3, 10, 2},
			{"10.0.0.5", 100, 10, 102},
		}
		for _, step := range steps {
			say(step.from, step.n)
			if got := b.Stats(); len(b.Services()) != step.known || got.Full != int64(step.full) {
				t.Errorf("%d from %s: got %d known and %d refused, want %d and %d", step.n, step.from,
					len(b.Services()), got.Full, step.known, step.full)
			}
		}
		pass(time.Minute)
		d.kinds()
		say("10.0.0.5", 4)
		c.wantChanges(d, Appeared, Appeared, Appeared, Appeared)
		if len(b.tombstones.all) > 10 {
			t.Errorf("got %d remembered of those that are gone, want at most 10", len(b.tombstones.all))
		}
	})
}

// While Changed blocks, a Browser goes on, and the number of changes to report stays bounded.
func TestSlowListener(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.1"), StationOptions{})
		var d changeLog
		returns := make(chan struct{})
		b, _ := c.browser(s, BrowserOptions{Changed: func(change Change) { <-returns; d.note(change) }})
		from := netip.MustParseAddr("10.0.0.2")
		first, second := newID(), newID()
		c.lan.send(announcement(first, 1, time.Now(), nil, "a"), from)
		synctest.Wait()
		c.lan.send(announcement(second, 1, time.Now(), nil, "a"), from)
		c.lan.send(announcement(second, 2, time.Now(), nil, "b"), from)
		c.lan.send(announcement(first, 2, time.Now(), nil, "b"), from)
		c.lan.send(announcement(first, 3, time.Now(), nil, "a"), from)
		for range 5000 { // services that appear and leave
			id := newID()
			c.lan.send(announcement(id, 1, time.Now(), nil, "c"), from)
			c.lan.send(finish(appendHeader(nil, goodbye, id, 2, 0), nil), from)
		}
		synctest.Wait()
		if n := len(b.touched) + len(b.gone); n > 4 {
			t.Errorf("got %d changes to report, want at most 4", n)
		}
		close(returns)
		synctest.Wait()
		if len(d.changes) != 2 || d.changes[1].Found.Name != "b" || d.changes[1].Found.ID != second {
			t.Errorf("got %+v, want that both appeared, the second as b", d.changes)
		}
	})
}

func TestBrowserRefuses(t *testing.T) {
	for _, o := range []BrowserOptions{{Service: "a b"}, {MaxServices: -1}, {MaxPerAddress: -1}} {
		if _, err := NewBrowser(nil, o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
	if _, err := NewStation(nil, StationOptions{Key: make([]byte, MinKey-1)}); err == nil {
		t.Error("a short key: got no error")
	}
	if _, err := NewStation(nil, StationOptions{Key: []byte{}}); err == nil {
		t.Error("an empty key: got no error")
	}
	if _, err := NewStation(nil, StationOptions{Window: -1}); err == nil {
		t.Error("a negative window: got no error")
	}
}

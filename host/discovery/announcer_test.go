package discovery

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAnnouncesAtIntervals(t *testing.T) {
	onLAN(t, func(c *crew) {
		start := time.Now()
		a, stop := c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), scales())
		pass(time.Minute)
		stop()
		said := c.lan.kindsOf(announce)
		if len(said) < 6 || len(said) > 9 {
			t.Fatalf("got %d announcements in a minute, want about 7", len(said))
		}
		if d := said[0].at.Sub(start); d > startJitter {
			t.Errorf("got the first after %v, want at most %v", d, startJitter)
		}
		if d := said[1].at.Sub(said[0].at); d > secondAfter*11/10 {
			t.Errorf("got the second %v later, want about %v", d, secondAfter)
		}
		for i := 2; i < len(said); i++ {
			if d := said[i].at.Sub(said[i-1].at); d < DefaultInterval*9/10 || d > DefaultInterval*11/10 {
				t.Errorf("got a pause of %v, want %v give or take a tenth", d, DefaultInterval)
			}
		}
		last := uint64(0)
		for _, s := range append(said, c.lan.kindsOf(goodbye)...) {
			m, err := parse(s.packet)
			if err != nil || m.id != a.ID() || m.sequence <= last {
				t.Errorf("got %v, sequence %d after %d, %v", m.id, m.sequence, last, err)
			}
			last = m.sequence
		}
		if n := len(c.lan.kindsOf(goodbye)); n != 3 {
			t.Errorf("got %d goodbyes, want 3", n)
		}
		if got := a.Stats().Announced; got != int64(len(said)) {
			t.Errorf("got %d announcements counted, want %d", got, len(said))
		}
	})
}

func TestGoodbyeWhenTheStationEnds(t *testing.T) {
	onLAN(t, func(c *crew) {
		h := c.lan.host("10.0.0.1")
		s, err := NewStation(h, StationOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stop := c.start(func(ctx context.Context) { _ = s.Run(ctx) })
		a, _ := c.announcer(s, scales())
		b, _ := c.browser(s, BrowserOptions{})
		pass(time.Second)
		stop()
		if n := len(c.lan.kindsOf(goodbye)); n != 3 {
			t.Errorf("got %d goodbyes, want 3", n)
		}
		select {
		case <-h.closed:
		default:
			t.Error("the transport is open, want it closed")
		}
		a.Run(c.ctx) // both return at once
		b.Run(c.ctx)
	})
}

// ask sends a query on the LAN.
func (c *crew) ask(from netip.Addr, service string, n byte) {
	c.lan.send(finish(appendQuery(appendHeader(nil, query, newID(), 1, 0), nonce{n, byte(c.lan.asked())}, service), nil), from)
}

// asked returns another number each time, so that nonces differ.
func (l *lan) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, sent{packet: make([]byte, headerSize)})
	return len(l.log)
}

func TestAnswers(t *testing.T) {
	rare := scales()
	rare.Interval, rare.TTL = 10*time.Minute, time.Hour
	onLAN(t, func(c *crew) {
		a, _ := c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), rare)
		pass(time.Minute)
		regular := a.Stats().Announced
		from := netip.MustParseAddr("10.0.0.9")
		for _, service := range []string{"scales", "other", ""} {
			c.ask(from, service, 1)
		}
		pass(answerAfter + answerJitter)
		said := c.lan.kindsOf(announce)
		if len(said) != int(regular)+1 {
			t.Fatalf("got %d answers to queries of one moment, want 1", len(said)-int(regular))
		}
		m, _ := parse(said[len(said)-1].packet)
		if len(m.nonces) != 2*nonceSize {
			t.Errorf("got %d nonces echoed, want 2", len(m.nonces)/nonceSize)
		}
		if want := (AnnouncerStats{Announced: regular, Queries: 2, Answers: 1}); a.Stats() != want {
			t.Errorf("got %+v, want %+v", a.Stats(), want)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	tests := []struct {
		name    string
		sources int
		least   int // the least number of answers in 10 s
	}{
		{"one source asks without end", 1, 4},
		{"a thousand sources ask without end", 1000, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rare := scales()
			rare.Interval, rare.TTL = 10*time.Minute, time.Hour
			onLAN(t, func(c *crew) {
				a, _ := c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), rare)
				pass(time.Minute)
				source := netip.MustParseAddr("10.1.0.0")
				for i := range 1000 { // for 10 s
					if source = source.Next(); i%test.sources == 0 {
						source = netip.MustParseAddr("10.1.0.1")
					}
					for n := range byte(5) {
						c.ask(source, "scales", n)
					}
					pass(10 * time.Millisecond)
				}
				s := a.Stats()
				if s.Queries != 5000 || s.Answers < int64(test.least) || s.Answers > 20 {
					t.Errorf("got %d answers to %d queries in 10 s, want at most 20", s.Answers, s.Queries)
				}
				if s.Limited < 5000-maxNonces*s.Answers-maxNonces {
					t.Errorf("got %d queries beyond the limit, want more", s.Limited)
				}
				if len(a.limiter.sources) > maxSources {
					t.Errorf("got %d sources remembered, want at most %d", len(a.limiter.sources), maxSources)
				}
			})
		})
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	now := time.Unix(1000, 0)
	steps := []struct {
		name  string
		after time.Duration
		from  netip.Addr
		want  bool
	}{
		{"first at once", 0, one, true}, {"second", 0, one, true}, {"third", 0, one, true}, {"fourth", 0, one, true},
		{"a fifth at once", 0, one, false},
		{"another source", 0, two, true},
		{"too early", perQuery / 2, one, false},
		{"one is back", perQuery / 2, one, true},
		{"but one only", 0, one, false},
	}
	for _, step := range steps {
		now = now.Add(step.after)
		if got := l.allow(step.from, now); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
	for source := two; len(l.sources) < maxSources; source = source.Next() {
		l.allow(source, now)
	}
	late := netip.MustParseAddr("10.1.0.1")
	if l.allow(late, now) || !l.allow(two, now) {
		t.Error("too many sources: got a new one allowed, or one that is known refused")
	}
	if now = now.Add(perQuery); !l.allow(late, now) || len(l.sources) > 3 {
		t.Errorf("later: got a new source refused, or %d remembered, want those without their whole allowance", len(l.sources))
	}
}

func TestAnnouncerRefuses(t *testing.T) {
	labels := func(n int, key, value string) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[key+strings.Repeat("x", i)] = value
		}
		return m
	}
	tests := []struct {
		name   string
		change func(*AnnouncerOptions)
		want   string
	}{
		{"no name", func(o *AnnouncerOptions) { o.Service.Name = "" }, "service:"},
		{"a name with a slash", func(o *AnnouncerOptions) { o.Service.Name = "a/b" }, "service:"},
		{"a name that begins with a dash", func(o *AnnouncerOptions) { o.Service.Name = "-a" }, "service:"},
		{"a long name", func(o *AnnouncerOptions) { o.Service.Name = strings.Repeat("a", 64) }, "service:"},
		{"a network that is none", func(o *AnnouncerOptions) { o.Service.Network = 4 }, "network:"},
		{"no port", func(o *AnnouncerOptions) { o.Service.Port = 0 }, "port:"},
		{"a codec that is no text", func(o *AnnouncerOptions) { o.Service.Codec = "\xff" }, "codec:"},
		{"a label that clears the screen", func(o *AnnouncerOptions) { o.Service.Labels = labels(1, "a", "\x1b[2J") }, "labels.a:"},
		{"a label without a key", func(o *AnnouncerOptions) { o.Service.Labels = labels(1, "", "a") }, "labels:"},
		{"a long value", func(o *AnnouncerOptions) { o.Service.Labels = labels(1, "a", strings.Repeat("a", 256)) }, "labels.a:"},
		{"17 labels", func(o *AnnouncerOptions) { o.Service.Labels = labels(17, "a", "") }, "17"},
		{"more than a packet", func(o *AnnouncerOptions) { o.Service.Labels = labels(4, "a", strings.Repeat("a", 255)) }, "bytes in all"},
		{"a ttl of less than two intervals", func(o *AnnouncerOptions) { o.Interval, o.TTL = 10*time.Second, 19*time.Second }, "ttl:"},
		{"a ttl of more than an hour", func(o *AnnouncerOptions) { o.TTL = MaxTTL + time.Second }, "ttl:"},
		{"an interval whose ttl is more than an hour", func(o *AnnouncerOptions) { o.Interval = MaxTTL }, "ttl:"},
		{"a ttl of microseconds", func(o *AnnouncerOptions) { o.TTL = time.Second + time.Microsecond }, "ttl:"},
		{"a negative interval", func(o *AnnouncerOptions) { o.Interval = -time.Second }, "interval:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options := AnnouncerOptions{Service: Service{Name: "scales", Port: 1}}
			test.change(&options)
			if _, err := NewAnnouncer(nil, options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

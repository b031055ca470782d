package relay

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	ship, host := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:1")
	type step struct {
		after time.Duration
		do    string // "sent", or the source of a frame that is received
		hash  uint64
		from  int
		want  bool // the frame is passed on
	}
	sent := func(hash uint64) step { return step{0, "sent", hash, 0, false} }
	heard := func(who string, hash uint64, from int, want bool) step { return step{0, who, hash, from, want} }
	after := func(d time.Duration, s step) step { s.after = d; return s }
	tests := []struct {
		name  string
		steps []step
	}{
		{"one echo on each interface", []step{
			sent(1), heard("host", 1, 1, false), heard("host", 1, 1, true), heard("host", 1, 2, false), heard("host", 1, 3, false)}},
		{"two sent, two suppressed", []step{
			sent(1), sent(1), heard("host", 1, 1, false), heard("host", 1, 1, false), heard("host", 1, 1, true)}},
		{"other frames pass", []step{sent(1), heard("host", 2, 1, true), heard("host", 1, 1, false)}},
		{"within two seconds", []step{sent(1), after(suppression-1, heard("host", 1, 1, false))}},
		{"not after two seconds", []step{sent(1), after(suppression, heard("host", 1, 1, true))}},
		{"an old one is gone, a new one counts", []step{
			sent(1), after(time.Second, sent(1)), after(time.Second, heard("host", 1, 1, false)), heard("host", 1, 1, true)}},
		{"an echo takes the oldest", []step{
			sent(1), after(time.Second, sent(1)), heard("host", 1, 1, false), after(time.Second, heard("host", 1, 1, false)),
			heard("host", 1, 1, true)}},
		{"a moored ship repeats", []step{
			heard("ship", 1, 1, true), heard("ship", 1, 1, true), after(time.Second, heard("ship", 1, 1, true))}},
		{"another host relays back what a ship said", []step{
			heard("ship", 1, 1, true), heard("host", 1, 1, false), heard("ship", 1, 1, true), heard("host", 1, 1, false),
			heard("ship", 1, 1, true)}},
		{"and does so on every interface, once", []step{
			heard("ship", 1, 1, true), heard("host", 1, 1, false), heard("host", 1, 2, false), heard("host", 1, 1, true)}},
		{"a heartbeat that two send", []step{
			heard("ship", 1, 1, true), after(3*time.Second, heard("host", 1, 1, true)), after(3*time.Second, heard("ship", 1, 1, true))}},
		{"nobody knows who", []step{heard("", 1, 1, true), heard("", 1, 1, true), heard("ship", 1, 1, false)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newEchoFilter(nil)
			now := time.Now()
			sources := map[string]netip.AddrPort{"ship": ship, "host": host}
			for i, s := range tt.steps {
				now = now.Add(s.after)
				if s.do == "sent" {
					r.sent(s.hash, now)
				} else if got := r.heard(s.hash, sources[s.do], s.from, now); got != s.want {
					t.Errorf("step %d: passed on: %v, want %v", i, got, s.want)
				}
			}
			now = now.Add(suppression)
			r.expire(now)
			if len(r.traces) != 0 || r.used != 0 {
				t.Errorf("%d traces and %d records are left", len(r.traces), r.used)
			}
		})
	}
}

// The number of remembered frames is limited, and their memory is charged.
func TestRecentIsBounded(t *testing.T) {
	now := time.Now()
	memory := NewMemory(recentFrameSize*3*recentFirst, 0)
	r := newEchoFilter(memory.open("", 0))
	for hash := range uint64(5 * recentFirst) {
		r.sent(hash, now)
	}
	if len(r.traces) != 2*recentFirst || memory.Used() != recentFrameSize*2*recentFirst {
		t.Errorf("%d frames are remembered in %d bytes, want %d", len(r.traces), memory.Used(), 2*recentFirst)
	}
	if r.heard(3*recentFirst-1, netip.AddrPort{}, 1, now) != true || r.heard(5*recentFirst-1, netip.AddrPort{}, 1, now) != false {
		t.Error("not the last ones are remembered")
	}
	r.close()
	if used := memory.Used(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
	r.sent(1, now) // a sender that does not know yet that the filter is closed

	r = newEchoFilter(nil)
	for hash := range uint64(3 * recentFrames) {
		r.sent(hash%(2*recentFrames), now)
		r.heard(hash, netip.AddrPort{}, 1, now)
	}
	if len(r.ring) != recentFrames || len(r.traces) > recentFrames || len(r.spare) > recentFrames {
		t.Errorf("%d records, %d traces and %d spare ones", len(r.ring), len(r.traces), len(r.spare))
	}
	for i := range 3 * recentInterfaces {
		r.heard(uint64(i), netip.AddrPort{}, i, now)
	}
	if len(r.interfaces) > recentInterfaces {
		t.Errorf("%d interfaces", len(r.interfaces))
	}
	if none := newEchoFilter(NewMemory(1, 0).open("", 0)); none.heard(1, netip.AddrPort{}, 1, now) != true {
		t.Error("without memory everything passes")
	}
}

// A memory of frames that stores each frame with the interfaces on which it has suppressed an arrival, exactly as the rule says.
type plainRecent struct{ all []*plainRecord }

type plainRecord struct {
	hash   uint64
	at     time.Time
	source netip.AddrPort // not valid: sent
	spent  []int
}

func (p *plainRecent) sent(hash uint64, now time.Time) {
	p.all = append(p.all, &plainRecord{hash: hash, at: now})
}

func (p *plainRecent) heard(hash uint64, source netip.AddrPort, from int, now time.Time) bool {
	for _, sent := range []bool{true, false} {
		for _, one := range p.all {
			if one.hash == hash && now.Sub(one.at) < suppression && one.source.IsValid() != sent &&
				one.source != source && !slices.Contains(one.spent, from) {
				one.spent = append(one.spent, from)
				return false
			}
		}
	}
	// Of the received frames, only those from one source count: the source of the last frame that was passed on.
	p.all = slices.DeleteFunc(p.all, func(one *plainRecord) bool {
		return one.hash == hash && one.source.IsValid() && one.source != source
	})
	p.all = append(p.all, &plainRecord{hash: hash, at: now, source: source})
	return true
}

// Counting credits gives the same results as storing every frame.
func TestRecentAgainstPlain(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		counted, plain := newEchoFilter(nil), &plainRecent{}
		now := time.Now()
		for step := range 300 {
			now = now.Add(time.Duration(r.IntN(int(300 * time.Millisecond))))
			hash := uint64(r.IntN(3))
			if r.IntN(3) == 0 {
				counted.sent(hash, now)
				plain.sent(hash, now)
				continue
			}
			source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(3))}), 1)
			from := r.IntN(3)
			got, want := counted.heard(hash, source, from, now), plain.heard(hash, source, from, now)
			if got != want {
				t.Fatalf("seed %#x, step %d: passed on: %v, want %v", seed, step, got, want)
			}
		}
	}
}

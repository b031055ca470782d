package discovery

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// A million garbage packets change only counters.
func TestGarbage(t *testing.T) {
	tests := []struct {
		name    string
		options StationOptions
		make    func(random *rand.Rand, packet, recorded []byte) []byte
	}{
		{"random bytes", StationOptions{}, func(random *rand.Rand, packet, _ []byte) []byte {
			return packet[:random.IntN(len(packet))]
		}},
		{"random bytes after a header", StationOptions{}, func(random *rand.Rand, packet, _ []byte) []byte {
			packet = packet[:headerSize+random.IntN(len(packet)-headerSize)]
			copy(packet, finish(append(appendHeader(nil, announce, ID(packet[8:]), 1<<60, 1), packet[headerSize:]...), nil)[:headerSize])
			return packet
		}},
		{"random bytes, with a key", signed(), func(random *rand.Rand, packet, _ []byte) []byte {
			return packet[:random.IntN(len(packet))]
		}},
		{"a signed announcement with one byte changed", signed(), func(random *rand.Rand, packet, recorded []byte) []byte {
			packet = append(packet[:0], recorded...)
			packet[random.IntN(len(packet))] ^= byte(1 + random.IntN(255))
			return packet
		}},
	}
	const packets = 1_000_000
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := packets / 10
			if i == 0 && !testing.Short() {
				n = packets
			}
			onLAN(t, func(c *crew) {
				a, _ := c.announcer(c.station(c.lan.host("10.0.0.1"), test.options), scales())
				s := c.station(c.lan.host("10.0.0.2"), test.options)
				b, d := c.browser(s, BrowserOptions{})
				pass(time.Minute)
				c.wantChanges(d, Appeared)
				before, heard, known, counted := b.Stats(), s.Stats(), b.Services(), a.Stats()
				recorded := c.lan.kindsOf(announce)[0].packet
				source := rand.NewChaCha8([32]byte{byte(i)})
				random := rand.New(source)
				packet := make([]byte, 160)
				from := Origin{Address: netip.AddrPortFrom(attacker, DefaultPort), Interface: "lan0"}
				for range n {
					packet = packet[:cap(packet)]
					_, _ = source.Read(packet)
					s.hear(test.make(random, packet, recorded), from)
				}
				synctest.Wait()
				c.wantChanges(d)
				if got := b.Services(); !reflect.DeepEqual(got, known) {
					t.Errorf("got %v, want %v", got, known)
				}
				if got := b.Stats(); got != before {
					t.Errorf("got %+v, want %+v", got, before)
				}
				if got := a.Stats(); got != counted {
					t.Errorf("got %+v, want %+v", got, counted)
				}
				got := s.Stats()
				ignored := func(s StationStats) int64 { return s.Malformed + s.OtherVersions + s.Unsigned + s.Forged }
				if got.Received-heard.Received != int64(n) || ignored(got)-ignored(heard) != int64(n) {
					t.Errorf("got %+v after %+v, want %d more received and ignored", got, heard, n)
				}
			})
		})
	}
}

// A flood of valid packets with random contents does not exceed the Browser's limits.
func TestFlood(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.2"), StationOptions{})
		b, _ := c.browser(s, BrowserOptions{MaxServices: 50, MaxPerAddress: 20})
		random := rand.New(rand.NewPCG(1, 2))
		ids := make([]ID, 200)
		for i := range ids {
			ids[i] = newID()
		}
		for i := range 20_000 {
			id, sequence, at := ids[random.IntN(len(ids))], 1+random.Uint64N(1<<20), int64(random.Uint64N(maxSent))
			packet := finish(appendHeader(nil, goodbye, id, sequence, at), nil)
			if random.IntN(4) > 0 {
				packet = announcement(id, sequence, time.UnixMilli(at), nil, string(rune('a'+random.IntN(3))))
			}
			source := netip.AddrFrom4([4]byte{10, 0, 1, byte(random.IntN(4))})
			s.hear(packet, Origin{Address: netip.AddrPortFrom(source, 1), Interface: "lan0"})
			if i%1000 == 0 {
				pass(time.Second)
			}
			b.mu.Lock()
			live, gone, reported, touched := len(b.live), len(b.tombstones.all), len(b.reported), len(b.touched)
			b.mu.Unlock()
			if live > 50 || gone > 50 || reported > 50 || touched > 100 {
				t.Fatalf("got %d live, %d tombstones, %d reported and %d touched, want at most 50, 50, 50 and 100", live, gone, reported, touched)
			}
		}
	})
}

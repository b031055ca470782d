package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framehost/framehost/codecs"
)

// All payloads arrive, unchanged and in order, whatever the sizes of payloads, reads, writes and memory, and whichever peer ends
// first.
func TestEverythingArrives(t *testing.T) {
	const maxFrame = 300 << 10
	framings := map[string]codecs.Framing{
		"lines": lines{}, "counted": counted{}, "built": counted{built: true}, "numbered": counted{numbered: true},
	}
	memories := map[string]int64{
		"all memory":    0,
		"little memory": sessionMemory + 6*maxFrame + 2*maxHeapRead,
	}
	for downName, down := range framings {
		for upName, up := range framings {
			for memoryName, memory := range memories {
				t.Run(fmt.Sprintf("%s to %s with %s", downName, upName, memoryName), func(t *testing.T) {
					seed := rand.Uint64()
					r := rand.New(rand.NewPCG(seed, 0))
					synctest.Test(t, func(t *testing.T) {
						budget := NewMemory(memory, time.Minute)
						relayBoth(t, r, Config{
							Downstream: Side{Codec: codec(t, down, maxFrame)}, Upstream: Side{Codec: codec(t, up, maxFrame)},
							Memory: budget,
						}, down, up)
						if used := budget.Used(); used != 0 {
							t.Errorf("%d bytes of memory are still in use", used)
						}
					})
					if t.Failed() {
						t.Logf("seed %#x", seed)
					}
				})
			}
		}
	}
}

func relayBoth(t *testing.T, r *rand.Rand, config Config, down, up codecs.Framing) {
	toUpstream, toDownstream := randomPayloads(r), randomPayloads(r)
	s := start(t.Context(), t, config, 1+r.IntN(1<<(8+r.IntN(12))))
	s.down.out.cuts, s.up.out.cuts = randomCuts(r), randomCuts(r)
	serve := func(l *link, send []byte) <-chan []byte {
		got := make(chan []byte, 1)
		go func() {
			l.send(send)
			l.CloseWrite()
		}()
		go func() {
			all, err := l.receive()
			if err != nil {
				t.Errorf("receive: %v", err)
			}
			got <- all
		}()
		return got
	}
	downGot := serve(s.down, wire(t, down, toUpstream...))
	upGot := serve(s.up, wire(t, up, toDownstream...))
	compare(t, "downstream", <-downGot, wire(t, down, toDownstream...))
	compare(t, "upstream", <-upGot, wire(t, up, toUpstream...))
	result := <-s.result
	if result.Reason != Fin {
		t.Errorf("got %+v, want fin", result)
	}
	if got, want := result.Stats.ToUpstream.FramesOut, int64(len(toUpstream)); got != want {
		t.Errorf("%d frames to upstream, want %d", got, want)
	}
}

func compare(t *testing.T, who string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: got %d bytes, want %d; they differ from %d on", who, len(got), len(want), at)
}

func randomPayloads(r *rand.Rand) [][]byte {
	sizes := []int{20, 300, 5000, 70_000, 300_000}
	var all [][]byte
	for total := 0; total < 400_000 && len(all) < 5_000; {
		size := r.IntN(sizes[r.IntN(1+r.IntN(len(sizes)))])
		p := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, size)
		for range size / 50 {
			p[r.IntN(size)] = byte('0' + r.IntN(10))
		}
		all, total = append(all, p), total+size
	}
	return all
}

// randomCuts makes the first reads short, and some of the later ones long.
func randomCuts(r *rand.Rand) []int {
	cuts := make([]int, r.IntN(300))
	for i := range cuts {
		cuts[i] = 1 + r.IntN(1<<r.IntN(18))
	}
	return cuts
}

// The same bytes are skipped and kept, however reads cut the wire.
func TestSkippingIgnoresCuts(t *testing.T) {
	const bad = "!bad...."
	for range 20 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		var sent, want, wantKept []byte
		violations := int64(0)
		for range 5000 {
			if r.IntN(10) == 0 {
				sent, wantKept = append(sent, bad...), append(wantKept, bad...)
				violations++
				continue
			}
			line := bytes.Repeat([]byte("x"), r.IntN(100))
			sent = append(append(sent, line...), '\n')
			want = append(want, wire(t, counted{}, line)...)
		}
		synctest.Test(t, func(t *testing.T) {
			var quarantine kept
			config := translating(t)
			config.OnViolation = Quarantine
			config.Quarantine = func(Violation) io.WriteCloser { return &quarantine }
			s := start(t.Context(), t, config, 1+r.IntN(200_000))
			s.down.out.cuts = randomCuts(r)
			go func() {
				s.down.send(sent)
				s.down.CloseWrite()
			}()
			s.up.CloseWrite()
			got, err := s.up.receive()
			compare(t, "upstream", got, want)
			compare(t, "quarantine", quarantine.Bytes(), wantKept)
			result := <-s.result
			stats := result.Stats.ToUpstream
			if result.Reason != Fin || err != nil || stats.Violations != violations || stats.BytesSkipped != int64(len(wantKept)) {
				t.Errorf("got %+v, %v; want fin with %d violations", result, err, violations)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %#x", seed)
		}
	}
}

package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
)

// A source repeats batch until frames frames were read; each read returns a piece of it. A sink counts what is written to it.
type source struct {
	*link
	batch []byte
	left  int
	piece int
}

func (s *source) Read(grab func() []byte, _ func([]byte)) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	p := grab()
	n := copy(p[:min(len(p), s.piece)], s.batch)
	for n < min(len(p), s.piece) {
		n += copy(p[n:min(len(p), s.piece)], s.batch)
	}
	n -= n % len(s.batch) // whole batches, so that the next read begins with one
	if n == 0 {
		n = copy(p, s.batch)
	}
	s.left -= n
	return n, nil
}

type sink struct{ *link }

func (s sink) Write(p []byte) (int, error) { return len(p), nil }

// One op is one frame.
func BenchmarkSession(b *testing.B) {
	for _, size := range []int{64, 256, 4096} {
		for _, read := range []int{1, baseRead / 2, maxHeapRead} {
			b.Run(fmt.Sprintf("payload=%d/read=%d", size, read), func(b *testing.B) {
				frame := append(bytes.Repeat([]byte("x"), size), '\n')
				down, _ := connect(1)
				up, peer := connect(1)
				peer.CloseWrite()
				s, err := New(Config{
					Downstream: Side{Link: &source{down, frame, b.N * len(frame), max(read, len(frame))}, Codec: codec(b, lines{}, 1<<20)},
					Upstream:   Side{Link: sink{up}, Codec: codec(b, counted{}, 1<<20)},
					Memory:     NewMemory(1<<30, 0),
					Timeouts:   Timeouts{Frame: 1e12, Write: 1e12},
				})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(frame)))
				b.ResetTimer()
				if result := s.Run(context.Background()); result.Reason != Fin {
					b.Fatalf("got %+v", result)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
			})
		}
	}
}

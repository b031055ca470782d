package relay

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// One op is one frame that every receiver gets.
func BenchmarkHub(b *testing.B) {
	for _, receivers := range []int{1, 10, 100} {
		for _, kind := range []struct{ size, read int }{{64, baseRead / 2}, {256, 1}, {256, baseRead / 2}, {4096, baseRead / 2}} {
			size := kind.size
			b.Run(fmt.Sprintf("receivers=%d/payload=%d/read=%d", receivers, size, kind.read), func(b *testing.B) {
				h := NewHub(NewMemory(1<<30, 0))
				frame := append(bytes.Repeat([]byte("x"), size), '\n')
				results := takers(b, h, receivers)
				config := with(codec(b, lines{}, 1<<20))
				config.Use = ReceiveOnly
				down, _ := connect(1)
				config.Link = &source{down, frame, b.N * len(frame), max(kind.read, len(frame))}
				sender, err := h.Stream(config)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(frame)))
				b.ResetTimer()
				if result := sender.Run(b.Context()); result.Reason != Fin || result.Stats.FramesIn < int64(b.N) {
					b.Fatalf("got %+v", result)
				}
				h.End(Drained)
				for _, result := range results {
					if got := <-result; got.Stats.FramesOut < int64(b.N) {
						b.Fatalf("got %+v", got)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
			})
		}
	}
}

// takers adds receivers that never wait and lose nothing.
func takers(b *testing.B, h *Hub, receivers int) (results []chan MemberResult) {
	to := codec(b, counted{}, 1<<20)
	for range receivers {
		config := with(to)
		config.Use, config.Shutdown, config.Queue = SendOnly, true, Queue{Policy: Block}
		up, _ := connect(1)
		config.Link = sink{up}
		m, err := h.Stream(config)
		if err != nil {
			b.Fatal(err)
		}
		result := make(chan MemberResult, 1)
		results = append(results, result)
		go func() { result <- m.Run(b.Context()) }()
	}
	for h.Stats().Members < receivers {
		runtime.Gosched()
	}
	return results
}

// A flood returns the same datagrams repeatedly, in full batches.
type flood struct {
	datagrams []Datagram
	left      int
	done      chan struct{}
}

func (f *flood) Receive(into []Datagram) (int, error) {
	if f.left <= 0 {
		<-f.done
		return 0, errClosed
	}
	n := copy(into, f.datagrams[:min(f.left, len(f.datagrams))])
	f.left -= n
	if f.left <= 0 {
		close(f.done)
	}
	return n, nil
}

func (f *flood) Send(frames [][]byte) (int, error) { return len(frames), nil }
func (f *flood) Close() error                      { return nil }

// One op is one datagram of one frame that every receiver gets.
func BenchmarkHubDatagrams(b *testing.B) {
	for _, framing := range []string{"none", "lines"} {
		for _, receivers := range []int{1, 100} {
			b.Run(fmt.Sprintf("codec=%s/receivers=%d", framing, receivers), func(b *testing.B) {
				h := NewHub(NewMemory(1<<30, 0))
				results := takers(b, h, receivers)
				flood := &flood{left: b.N, done: make(chan struct{})}
				config := DatagramMember{Datagrams: flood}
				config.Use = ReceiveOnly
				payload := bytes.Repeat([]byte("x"), 80)
				if framing == "lines" {
					config.Codec = codec(b, lines{}, 1<<20)
					payload = append(payload, '\n')
				}
				for range datagramBatch {
					flood.datagrams = append(flood.datagrams, Datagram{Bytes: payload, Interface: 1})
				}
				m, err := h.Datagrams(config)
				if err != nil {
					b.Fatal(err)
				}
				result := make(chan MemberResult, 1)
				b.ReportAllocs()
				b.ResetTimer()
				go func() { result <- m.Run(b.Context()) }()
				<-flood.done
				h.End(Drained)
				for _, result := range results {
					if got := <-result; got.Stats.FramesOut+datagramBatch < int64(b.N) { // a drain may begin before the last batch
						b.Fatalf("got %+v", got)
					}
				}
				<-result
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
			})
		}
	}
}

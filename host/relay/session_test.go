package relay

import (
	"context"
	"testing"
	"testing/synctest"
)

// A relayed is a running session with its two peers.
type relayed struct {
	*Session
	down, up *link // the peers' ends
	result   chan Result
}

// start runs a session with config between two new connections, which hold up to limit bytes each way.
func start(ctx context.Context, t testing.TB, config Config, limit int) *relayed {
	t.Helper()
	r := &relayed{result: make(chan Result, 1)}
	config.Downstream.Link, r.down = connected(limit)
	config.Upstream.Link, r.up = connected(limit)
	if config.Classify == nil {
		config.Classify = classify
	}
	var err error
	if r.Session, err = New(config); err != nil {
		t.Fatal(err)
	}
	go func() { r.result <- r.Run(ctx) }()
	return r
}

func connected(limit int) (Link, *link) {
	ours, peers := connect(limit)
	return ours, peers
}

func translating(t testing.TB) Config {
	return Config{
		Downstream: Side{Codec: codec(t, lines{}, 1<<20)},
		Upstream:   Side{Codec: codec(t, counted{}, 1<<20)},
	}
}

func TestTranslates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t.Context(), t, translating(t), 1<<20)
		r.down.send([]byte("hi\nho\n"))
		r.down.CloseWrite()
		got, err := r.up.receive()
		if want := "\x00\x00\x00\x02hi\x00\x00\x00\x02ho"; string(got) != want || err != nil {
			t.Errorf("upstream got %q, %v; want %q", got, err, want)
		}
		r.up.send([]byte("\x00\x00\x00\x05hello"))
		r.up.CloseWrite()
		got, err = r.down.receive()
		if want := "hello\n"; string(got) != want || err != nil {
			t.Errorf("downstream got %q, %v; want %q", got, err, want)
		}
		result := <-r.result
		if result.Reason != Fin || result.Err != nil {
			t.Errorf("got %+v, want fin", result)
		}
		if up := result.Stats.ToUpstream; up.FramesIn != 2 || up.FramesOut != 2 || up.BytesRead != 6 || up.BytesWritten != 12 || up.PayloadBytes != 4 {
			t.Errorf("got %+v", up)
		}
	})
}

package pluginproc

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// bound is the timeout for each step of these tests. No test waits for it to expire.
const bound = 30 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
}

// A journal is a log that tests can wait on.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.changed)
	j.changed = make(chan struct{})
	return j.text.Write(p)
}

func (j *journal) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "test", Level: hclog.Debug, Output: j})
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until text was logged.
func (j *journal) await(t *testing.T, text string) {
	t.Helper()
	ctx := testContext(t)
	for {
		j.mu.Lock()
		found, changed := strings.Contains(j.text.String(), text), j.changed
		j.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("never logged %q, but:\n%s", text, j)
		}
	}
}

// quick returns options with short restart delays.
func quick(j *journal) Options {
	return Options{Logger: j.logger(), CallTimeout: bound, MinRestartDelay: time.Millisecond, MaxRestartDelay: 5 * time.Millisecond}
}

// mustStart starts a plugin that ends with the test.
func mustStart(t *testing.T, spec Spec, options Options) *Plugin {
	t.Helper()
	p, err := Start(testContext(t), spec, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustConfigure(t *testing.T, p *Plugin) codeccall.Codec {
	t.Helper()
	c, err := p.Configure(testContext(t), nil, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A talk encodes payloads with a codec, decodes them again, and compares all results byte for byte.
type talk struct {
	direction        codeccall.Direction
	sent             int // frames
	encoding, decode []byte
	rest             []byte
}

func newTalk(c codeccall.Codec) *talk { return &talk{direction: c.Open()} }

// say encodes and decodes payloads. It cuts the wire inside the last frame, so that decoding takes two calls.
func (k *talk) say(ctx context.Context, payloads ...string) error {
	in := codeccall.Encode{State: k.encoding, Room: 1 << 20}
	var want strings.Builder
	for i, payload := range payloads {
		in.Refs = append(in.Refs, codecs.Ref{Off: uint32(len(in.Data)), Len: uint32(len(payload))})
		in.Data = append(in.Data, payload...)
		fmt.Fprintf(&want, "%d:%s\n", k.sent+i, payload)
	}
	var encoded codeccall.Encoded
	if err := k.direction.Encode(ctx, &in, &encoded); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if string(encoded.Wire) != want.String() {
		return fmt.Errorf("encoded %q, want %q", encoded.Wire, want.String())
	}
	k.encoding = append([]byte(nil), encoded.State...)
	k.sent += len(payloads)

	var got []string
	cut := len(encoded.Wire) - 2
	for _, arrived := range [][]byte{encoded.Wire[:cut], encoded.Wire[cut:]} {
		k.rest = append(k.rest, arrived...)
		var decoded codeccall.Decoded
		shown := codeccall.Decode{Wire: k.rest, State: k.decode, Room: 1 << 20}
		if err := k.direction.Decode(ctx, &shown, &decoded); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if decoded.Fault != nil {
			return fmt.Errorf("decode %q: %w", k.rest, decoded.Fault)
		}
		for _, r := range decoded.Refs {
			got = append(got, string(k.rest[r.Off:r.Off+r.Len]))
		}
		k.decode = append([]byte(nil), decoded.State...)
		k.rest = append([]byte(nil), k.rest[decoded.Consumed:]...)
	}
	if strings.Join(got, "\n") != strings.Join(payloads, "\n") || len(k.rest) > 0 {
		return fmt.Errorf("decoded %q and left %q, want %q", got, k.rest, payloads)
	}
	return nil
}

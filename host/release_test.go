package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecshm"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
)

// counted is line, and countedHeld counts its values that are still referenced. Decoding a frame "held 2" waits until the process
// holds two of them.
type counted struct {
	line
	tag string
}

type countedOptions struct {
	Tag string `json:"tag" jsonschema_description:"makes codecs differ"`
}

var countedHeld atomic.Int64

func init() {
	testCodecs["counted"] = codecs.New(codecs.Info{Name: "counted", Version: "1.0.0"}, countedOptions{},
		func(o *countedOptions, _ int) (codecs.Framing, error) {
			countedHeld.Add(1)
			f := &counted{tag: o.Tag}
			runtime.AddCleanup(f, func(n *atomic.Int64) { n.Add(-1) }, &countedHeld)
			return f, nil
		})
}

func (c *counted) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if count, ok := strings.CutPrefix(string(bytes.TrimSpace(in.Bytes)), "held "); ok && bytes.HasSuffix(in.Bytes, []byte("\n")) {
		for deadline := time.Now().Add(15 * time.Second); strconv.FormatInt(countedHeld.Load(), 10) != count; runtime.GC() {
			if time.Now().After(deadline) {
				panic(fmt.Sprintf("the process holds %d codecs, want %s", countedHeld.Load(), count))
			}
		}
	}
	return c.line.Decode(out, in)
}

// After reloads that change a codec, the plugin process holds only the codecs of the present configuration and of live sessions.
func TestReloadsReleaseCodecs(t *testing.T) {
	for _, plane := range []string{"grpc", "shm"} {
		t.Run(plane, func(t *testing.T) {
			if err := codecshm.Supported(); plane == "shm" && err != nil {
				t.Skip(err)
			}
			up := listenUpstream(t)
			configuration := func(change int) *config.Config {
				c, err := config.Parse("test.yaml", "yaml", fmt.Appendf(nil, `
data_plane: %s
timeouts: {codec: 60s}
codecs: [{name: c, plugin: counted, max_frame: %dB, options: {tag: "%d"}}, {name: long, plugin: long}]
routes:
  - {name: r, from: {listen: "tcp://127.0.0.1:0", codec: c}, to: {dial: "tcp://%s", codec: long}}
  - {name: s, from: {listen: "tcp://127.0.0.1:0", codec: c}, to: {dial: "tcp://%s", codec: long}}`,
					plane, 1000+change%2, change/2, up.Addr(), up.Addr()), config.LoadOptions{Builtin: []string{"counted", "long"}})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			h, err := Start(t.Context(), configuration(0), Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ended, cancel := context.WithCancel(context.Background())
				cancel()
				if err := h.Shutdown(ended); err != nil && !errors.Is(err, control.ErrCut) {
					t.Error(err)
				}
			})
			held := func() int {
				for _, p := range h.pool.Running() {
					if p.Spec().Name == "counted" {
						return p.Status().Codecs
					}
				}
				return 0
			}
			// holds waits until the host has n codecs of the plugin, and then until the plugin process has n.
			ask := dialRoute(t, h, "r")
			old := up.accept()
			holds := func(n int) {
				t.Helper()
				waitFor(t, h, func(*control.Status) bool { return held() == n })
				frame := fmt.Sprintf("held %d", n)
				send(t, ask, frame+"\n")
				expect(t, old, "\x00\x00\x00"+string(rune(len(frame)))+frame)
			}
			holds(1)
			for change := 1; change <= 50; change++ {
				if err := h.Reload(t.Context(), configuration(change)); err != nil {
					t.Fatal(err)
				}
			}
			holds(2) // the codec of the old session and that of the present configuration
			young := dialRoute(t, h, "r")
			send(t, young, "hi\n")
			peer := up.accept()
			expect(t, peer, "\x00\x00\x00\x02hi")
			if err := h.Reload(t.Context(), configuration(0)); err != nil { // the old session still has that codec
				t.Fatal(err)
			}
			holds(2) // with the codec of the session young
			young.Close()
			peer.Close()
			holds(1)
			if s := h.Status(); len(s.Plugins) != 2 || s.Plugins[0].Restarts != 0 {
				t.Errorf("got plugins %+v, want two that were not restarted", s.Plugins)
			}
		})
	}
}

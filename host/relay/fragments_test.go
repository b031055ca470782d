package relay

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/framehost/framehost/codecs/codeccall"
)

// An observed codec records the wire of each call, and whether the call is patient.
type observed struct {
	codeccall.Codec
	mu   sync.Mutex
	seen []string
}

type observedDirection struct {
	codeccall.Direction
	codec *observed
}

func (o *observed) Open() codeccall.Direction { return observedDirection{o.Codec.Open(), o} }

func (d observedDirection) Decode(ctx context.Context, in *codeccall.Decode, out *codeccall.Decoded) error {
	shown := string(in.Wire)
	if in.Patient {
		shown += " patiently"
	}
	d.codec.mu.Lock()
	d.codec.seen = append(d.codec.seen, shown)
	d.codec.mu.Unlock()
	return d.Direction.Decode(ctx, in, out)
}

// Calls are patient for senders whose frames arrive byte by byte, as long as they arrive that way.
func TestFragmentsAreDecodedPatiently(t *testing.T) {
	again := slices.Repeat([]string{"z\n"}, fragmentReset)
	patiently := slices.Repeat([]string{"z\n patiently"}, fragmentReset)
	long := strings.Repeat("l", fragmentSize)
	tests := []struct {
		name        string
		reads, want []string
	}{
		{"frames that are whole", []string{"hi\n", "ho\nha\n", "\n"}, []string{"hi\n", "ho\nha\n", "\n"}},
		{"a frame in many pieces", []string{"a", "b", "c", "\n"}, []string{"a", "ab patiently", "abc patiently", "abc\n patiently"}},
		{"two pieces again and again", []string{"a", "\n", "b", "\n"}, []string{"a", "a\n patiently", "b patiently", "b\n patiently"}},
		{"a long frame in large pieces", []string{long, long, "\n"}, []string{long, long + long, long + long + "\n"}},
		{"large pieces from a sender of fragments", []string{"a", long, "\n"}, []string{"a", "a" + long, "a" + long + "\n patiently"}},
		{"a sender of fragments that sends whole frames again", append(append([]string{"a", "\n"}, again...), "z\n"),
			append(append([]string{"a", "a\n patiently"}, patiently[1:]...), "z\n", "z\n")},
		{"the end of a sender of fragments", []string{"a", "b"}, []string{"a", "ab patiently", "ab"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := translating(t)
				from := &observed{Codec: config.Downstream.Codec}
				config.Downstream.Codec = from
				r := start(t.Context(), t, config, 1<<20)
				for _, read := range tt.reads {
					r.down.send([]byte(read))
					synctest.Wait()
				}
				r.down.CloseWrite()
				r.up.CloseWrite()
				<-r.result
				if n := len(from.seen) - 1; from.seen[n] == "" { // the stream's end, where nothing is left
					from.seen = from.seen[:n]
				}
				if !slices.Equal(from.seen, tt.want) {
					t.Errorf("got  %q\nwant %q", from.seen, tt.want)
				}
			})
		})
	}
}

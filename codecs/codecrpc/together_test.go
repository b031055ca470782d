package codecrpc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

// Calls of all sizes share the lanes of one client, and each gets its own answer.
func TestTogether(t *testing.T) {
	const sessions, calls, most = 64, 6, 3 << 20
	codec := configure(t, serveUnix(t, lines), "{}", most)
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, most+sessions)
	for i := range noise {
		noise[i] = 'a' + byte(random.IntN(26))
	}
	var all sync.WaitGroup
	for session := range sessions {
		all.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(session)))
			d := codec.Open()
			defer d.Close()
			for call := range calls {
				size := 1 + random.IntN(1<<(4+random.IntN(14)))
				if call == session%calls && session%8 == 0 {
					size = most
				}
				if err := thereAndBack(t, d, noise[session:session+size]); err != nil {
					t.Errorf("session %d, payload of %d bytes: %v", session, size, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// thereAndBack encodes payload, an empty one, and part of payload again, and decodes the wire.
func thereAndBack(t *testing.T, d codeccall.Direction, payload []byte) error {
	n := uint32(len(payload))
	some := n - min(n/2, 10_000)
	refs := []codecs.Ref{{Off: 0, Len: n}, {Off: n, Len: 0}, {Off: some, Len: n - some}}
	var encoded codeccall.Encoded
	if err := d.Encode(t.Context(), &codeccall.Encode{Wire: payload, Refs: refs, Room: 2*len(payload) + 3}, &encoded); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	want := bytes.Join([][]byte{payload, nil, payload[some:], nil}, []byte("\n"))
	if !bytes.Equal(encoded.Wire, want) || encoded.Taken() != 3 {
		return fmt.Errorf("encode: the wire of %d bytes, which should have %d, differs", len(encoded.Wire), len(want))
	}
	var decoded codeccall.Decoded
	if err := d.Decode(t.Context(), &codeccall.Decode{Wire: encoded.Wire, EOF: true}, &decoded); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	got := []codecs.Ref{{Off: 0, Len: n}, {Off: n + 1, Len: 0}, {Off: n + 2, Len: n - some}}
	if fmt.Sprint(decoded.Refs) != fmt.Sprint(got) || decoded.Consumed != len(want) {
		return fmt.Errorf("decode: got %v and %d bytes, want %v and %d", decoded.Refs, decoded.Consumed, got, len(want))
	}
	return nil
}

// The cost of a round trip to another process, if no other call shares it.
func BenchmarkTinyCall(b *testing.B) {
	d := configure(b, serveUnix(b, lines), "{}", 4096).Open()
	defer d.Close()
	in := &codeccall.Decode{Wire: []byte("hi\n")}
	var out codeccall.Decoded
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(b.Context(), in, &out); err != nil {
			b.Fatal(err)
		}
	}
}

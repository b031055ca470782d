package codecshm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m, linesCodec) }

type lineOptions struct {
	Mallocs bool `json:"mallocs" jsonschema_description:"decode whatever is shown to the number of allocations of the process"`
}

type lines struct{ mallocs bool }

// linesCodec ends payloads with a newline, and reports how much its process allocates.
var linesCodec = codecs.New(codecs.Info{Name: "lines", Version: "1.0.0", Description: "for tests"}, lineOptions{},
	func(o *lineOptions, _ int) (codecs.Framing, error) { return lines{o.Mallocs}, nil })

func (lines) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (l lines) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if l.mallocs {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return len(in.Bytes), out.Append(binary.BigEndian.AppendUint64(nil, stats.Mallocs))
	}
	begin := 0
	for {
		i := bytes.IndexByte(in.Bytes[begin:], '\n')
		if i < 0 {
			return begin, nil
		}
		if err := out.Refer(begin, begin+i); err != nil {
			return begin, err
		}
		begin += i + 1
	}
}

func (lines) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		b, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(b, payload...), '\n')); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

// A pair makes calls like a relay: wire is received into a loan, and results are borrowed.
type pair struct {
	direction codeccall.Direction
	loan      codeccall.Loan
	decode    codeccall.Decode
	decoded   codeccall.Decoded
	encode    codeccall.Encode
	encoded   codeccall.Encoded
	mallocs   func() uint64 // of the plugin's process, so far
}

// newPair returns calls of n frames with payloads of size bytes each, to another process.
func newPair(t testing.TB, n, size int) *pair {
	t.Helper()
	rpctest.SharedMemory.Require(t)
	configure := rpctest.SharedMemory.Start(t, nil)
	codec, err := configure(nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	counting, err := configure([]byte(`{"mallocs": true}`), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	wire := bytes.Repeat(append(bytes.Repeat([]byte("x"), size), '\n'), n)
	p := &pair{direction: codec.Open(), loan: codec.(codeccall.Lender).Lend(len(wire))}
	t.Cleanup(func() {
		p.decoded.Return()
		p.encoded.Return()
		p.loan.End()
		p.direction.Close()
	})
	p.decode = codeccall.Decode{
		Wire: p.loan.Bytes()[:copy(p.loan.Bytes(), wire)], Lent: p.loan, Room: len(wire), Borrow: true,
	}
	on := counting.Open()
	t.Cleanup(on.Close)
	p.mallocs = func() uint64 {
		var out codeccall.Decoded
		if err := on.Decode(t.Context(), &codeccall.Decode{Wire: wire[:1], Room: 8}, &out); err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint64(out.Data)
	}
	for range 10 {
		p.runDecode(t)
		p.encode = codeccall.Encode{Wire: p.decode.Wire, Lent: p.loan, Refs: p.decoded.Refs, Room: len(wire), Borrow: true}
		p.runEncode(t)
	}
	if len(p.decoded.Refs) != n || !bytes.Equal(p.encoded.Wire, wire) {
		t.Fatalf("got %d payloads and %d bytes back, want %d and %d", len(p.decoded.Refs), len(p.encoded.Wire), n, len(wire))
	}
	return p
}

func (p *pair) runDecode(t testing.TB) {
	if err := p.direction.Decode(t.Context(), &p.decode, &p.decoded); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) runEncode(t testing.TB) {
	if err := p.direction.Encode(t.Context(), &p.encode, &p.encoded); err != nil {
		t.Fatal(err)
	}
}

// In the steady state calls over the plane allocate nothing, in the host (allocs/op) or in the plugin's process
// (plugin-allocs/op).
func BenchmarkCall(b *testing.B) {
	for _, frames := range []struct{ n, size int }{{1, 64}, {1, 256}, {(64 << 10) / 65, 64}, {(64 << 10) / 257, 256}} {
		for _, kind := range []struct {
			name string
			call func(*pair, testing.TB)
		}{{"decode", (*pair).runDecode}, {"encode", (*pair).runEncode}} {
			b.Run(fmt.Sprintf("%s/frames=%d/payload=%d", kind.name, frames.n, frames.size), func(b *testing.B) {
				p := newPair(b, frames.n, frames.size)
				before := p.mallocs()
				b.SetBytes(int64(len(p.decode.Wire)))
				b.ReportAllocs()
				for b.Loop() {
					kind.call(p, b)
				}
				b.StopTimer()
				b.ReportMetric(float64(p.mallocs()-before)/float64(b.N), "plugin-allocs/op")
				b.ReportMetric(float64(b.N*frames.n)/b.Elapsed().Seconds(), "frames/s")
			})
		}
	}
}

// raceDetector is set if system calls allocate the memory they read into.
var raceDetector bool

// The numbers of the benchmark hold, except for other work of the two processes.
func TestCallsAllocateNothing(t *testing.T) {
	p := newPair(t, 20, 64)
	const calls = 2000
	before := p.mallocs()
	inHost := testing.AllocsPerRun(calls, func() {
		p.runDecode(t)
		p.runEncode(t)
	})
	if inHost != 0 {
		t.Errorf("%v allocations in the host for two calls", inHost)
	}
	if inPlugin := p.mallocs() - before; inPlugin > calls/4 && !raceDetector {
		t.Errorf("%d allocations in the plugin's process for %d calls", inPlugin, 2*calls)
	}
}

package codecrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// A rawHost is a host that sends any message to the server of plugins in Go.
type rawHost struct {
	codecpb.CodecClient
	lane codecpb.Codec_LaneClient
}

const hostFrame = 100_000 // the limit of codec 1

func startRawHost(t *testing.T) *rawHost {
	t.Helper()
	conn := connect(t, func(s *grpc.Server) {
		if err := (&Plugin{Codec: lines}).GRPCServer(nil, s); err != nil {
			t.Fatal(err)
		}
	}, ServerOptions()...)
	h := &rawHost{CodecClient: codecpb.NewCodecClient(conn)}
	if _, err := h.Configure(t.Context(), &codecpb.ConfigureRequest{Codec: 1, MaxFrame: hostFrame}); err != nil {
		t.Fatal(err)
	}
	h.lane = h.open(t)
	return h
}

// open opens another lane, which ends with the test.
func (h *rawHost) open(t *testing.T) codecpb.Codec_LaneClient {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	lane, err := h.Lane(ctx, grpc.MaxCallSendMsgSize(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	return lane
}

// serves checks that a call with this id is answered on a lane.
func serves(t *testing.T, lane codecpb.Codec_LaneClient, id uint64) {
	t.Helper()
	call := &codecpb.Call{Id: id, Head: &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: 4}, Data: []byte("hi\nh")}
	if err := lane.Send(call); err != nil {
		t.Fatalf("another call: %v", err)
	}
	answer, err := lane.Recv()
	if err != nil || answer.Id != id || answer.Head.Consumed != 3 || len(answer.Offsets) != 1 {
		t.Fatalf("another call: got %v and %v", answer, err)
	}
}

// Calls that can't be parsed end their lane with an error, and no other lane.
func TestGarbageFromHost(t *testing.T) {
	const decode, encode = codecpb.Kind_KIND_DECODE, codecpb.Kind_KIND_ENCODE
	type (
		head  = codecpb.CallHead
		calls = []*codecpb.Call
	)
	unknown := func(b ...byte) calls {
		c := &codecpb.Call{}
		c.ProtoReflect().SetUnknown(b)
		return calls{c}
	}
	tests := []struct {
		name  string
		calls calls
	}{
		{"nothing", calls{{}}},
		{"no head", calls{{Id: 1, Data: []byte("hi")}}},
		{"a second head", calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 9}}, {Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 9}}}},
		{"an id that was used", calls{
			{Id: 1, Head: &head{Kind: 7, Codec: 1, DataSize: 9}}, {Id: 1, Data: make([]byte, 9)}, {Id: 1, Head: &head{}}}},
		{"an id of 0", calls{{Head: &head{Kind: decode, Codec: 1, DataSize: 9}}}},
		{"ids that go back", calls{{Id: 2, Head: &head{Kind: decode, Codec: 1, DataSize: 9}}, {Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 9}}}},
		{"more data than announced", calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 1}, Data: []byte("hi")}}},
		{"more data than announced, in parts",
			calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 3}, Data: []byte("hi")}, {Id: 1, Data: []byte("ho")}}},
		{"more payloads than announced",
			calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, DataSize: 2, Payloads: 1}, Data: []byte("hi"), Lengths: []uint32{1, 1}}}},
		{"more payloads than there may be", calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, Payloads: codecs.MaxPayloads + 1}}}},
		{"4 Gi payloads", calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, Payloads: math.MaxUint32}}}},
		{"payloads of more bytes than there are",
			calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, DataSize: 2, Payloads: 1}, Data: []byte("hi"), Lengths: []uint32{3}}}},
		{"payloads of fewer bytes than there are",
			calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, DataSize: 2, Payloads: 1}, Data: []byte("hi"), Lengths: []uint32{1}}}},
		{"lengths that wrap around", calls{{Id: 1, Head: &head{Kind: encode, Codec: 1, DataSize: 2, Payloads: 2}, Data: []byte("hi"),
			Lengths: []uint32{math.MaxUint32, 3}}}},
		{"too much state", calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, State: make([]byte, codecs.MaxState+1)}}}},
		{"a message longer than a part may be", calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: maxPart}, Data: make([]byte, maxPart)}}},
		{"a message beyond 4 MiB", calls{{Id: 1, Head: &head{Kind: decode, Codec: 1, DataSize: 5 << 20}, Data: make([]byte, 5<<20)}}},
		{"what is not protobuf", unknown(0xFF, 0xFF)},
		{"a field that is cut off", unknown(0x08, 1, 0x1A, 0x7F)},
		{"a head that is not protobuf", unknown(0x08, 1, 0x12, 1, 0xFF)},
		{"a head that is a number", unknown(0x08, 1, 0x10, 1)},
		{"two ids", unknown(0x08, 1, 0x08, 2, 0x12, 0)},
		{"a number of more than 32 bits", unknown(0x08, 1, 0x12, 7, 0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01)},
		{"lengths that are not packed", unknown(0x08, 1, 0x12, 0, 0x20, 1)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startRawHost(t)
				other := h.open(t)
				serves(t, other, 1)
				for _, call := range test.calls {
					if err := h.lane.Send(call); err != nil && !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
				}
				for {
					answer, err := h.lane.Recv()
					if errors.Is(err, io.EOF) {
						t.Fatal("the lane ended without an error")
					}
					if err != nil {
						break
					}
					if answer.Head.Error == "" {
						t.Fatalf("got the answer %v", answer)
					}
				}
				serves(t, other, 2)
			})
		})
	}
}

// Calls that can be parsed but not made are received completely, answered with an error, and do not harm the lane.
func TestRefusedCalls(t *testing.T) {
	tests := []struct {
		name string
		head *codecpb.CallHead
	}{
		{"a codec that was not configured", &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 2, DataSize: 600_000}},
		{"no kind", &codecpb.CallHead{Codec: 1, DataSize: 9}},
		{"an unknown kind", &codecpb.CallHead{Kind: 3, Codec: 1}},
		{"more examined than shown", &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: 9, Examined: 10}},
		{"a decode of more than there may be", &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: hostFrame + 2 + maxBatch}},
		{"an encode of more than there may be",
			&codecpb.CallHead{Kind: codecpb.Kind_KIND_ENCODE, Codec: 1, DataSize: hostFrame + 1 + maxBatch, Payloads: 1}},
		{"more room to decode into than there may be",
			&codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: 9, Room: hostFrame + 1 + maxBatch}},
		{"more room to encode into than there may be",
			&codecpb.CallHead{Kind: codecpb.Kind_KIND_ENCODE, Codec: 1, DataSize: 9, Payloads: 1, Room: hostFrame + 2 + maxBatch}},
		{"more kept than there may be", &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, Stream: 1, KeptOf: 1, Kept: math.MaxUint32}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startRawHost(t)
				head := test.head
				parts := []*codecpb.Call{{Id: 7, Head: head}}
				if head.Payloads > 0 {
					parts[0].Lengths = []uint32{head.DataSize}
				}
				for left := int(head.DataSize); left > 0; left -= 200_000 {
					parts = append(parts, &codecpb.Call{Id: 7, Data: make([]byte, min(left, 200_000))})
				}
				for _, part := range parts {
					if err := h.lane.Send(part); err != nil {
						t.Fatal(err)
					}
				}
				answer, err := h.lane.Recv()
				if err != nil || answer.Id != 7 || answer.Head.Error == "" {
					t.Fatalf("got %v and %v, want an error as the answer", answer, err)
				}
				serves(t, h.lane, 8)
			})
		})
	}
}

// The process asks for bytes that it has not kept.
func TestNothingKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startRawHost(t)
		for id, head := range map[uint64]*codecpb.CallHead{
			1: {Kind: codecpb.Kind_KIND_DECODE, Codec: 1, Kept: 9, KeptOf: 1, Stream: 1},
			2: {Kind: codecpb.Kind_KIND_DECODE, Codec: 1, Kept: 9, KeptOf: 1},
		} {
			lane := h.open(t)
			if err := lane.Send(&codecpb.Call{Id: id, Head: head}); err != nil {
				t.Fatal(err)
			}
			if answer, err := lane.Recv(); err != nil || answer.Id != id || !answer.Head.Resend {
				t.Errorf("kept bytes of stream %d: got %v and %v, want resend", head.Stream, answer, err)
			}
		}
	})
}

// Announced bytes take no memory before they arrive.
func TestAnnouncedToPlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startRawHost(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for id := range uint64(1000) {
			head := &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: math.MaxUint32}
			if id%2 == 0 {
				head.Kind, head.Payloads = codecpb.Kind_KIND_ENCODE, codecs.MaxPayloads
			}
			if err := h.lane.Send(&codecpb.Call{Id: id + 1, Head: head, Data: []byte("hi")}); err != nil {
				t.Fatal(err)
			}
		}
		serves(t, h.lane, 2000)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("1000 calls that announced 4 GiB took %d bytes of memory", took)
		}
	})
}

// A host that reads no answers does not stop the plugin from reading calls, and leaves no goroutine when it ends.
func TestHostThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startRawHost(t)
		wire := bytes.Repeat([]byte("\n"), 60_000)
		const calls = 100 // their answers are more than the windows of HTTP/2 hold
		for id := range uint64(calls) {
			call := &codecpb.Call{Id: id + 1, Data: wire,
				Head: &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: uint32(len(wire))}}
			if err := h.lane.Send(call); err != nil {
				t.Fatal(err)
			}
		}
		serves(t, h.open(t), 1)
	})
}

// A host that ends its side receives the answers for which it waits.
func TestHostEndsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startRawHost(t)
		for id := range uint64(20) {
			call := &codecpb.Call{Id: id + 1, Data: []byte("hi\n"),
				Head: &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: 3}}
			if err := h.lane.Send(call); err != nil {
				t.Fatal(err)
			}
		}
		unfinished := &codecpb.Call{Id: 99, Head: &codecpb.CallHead{Kind: codecpb.Kind_KIND_DECODE, Codec: 1, DataSize: 3}}
		if err := errors.Join(h.lane.Send(unfinished), h.lane.CloseSend()); err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]bool{}
		for {
			answer, err := h.lane.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			seen[answer.Id] = true
		}
		if len(seen) != 20 {
			t.Errorf("got answers to %s, want 20 of them", fmt.Sprint(seen))
		}
	})
}

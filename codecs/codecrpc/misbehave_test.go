package codecrpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// The tests of this file run in bubbles of testing/synctest: a test that hangs or leaves a goroutine fails at once, and timeouts
// take no time.

// fakeFrame and fakeWire are the limits of the codec that a fake configures.
const (
	fakeFrame = 1000
	fakeWire  = 2000
)

// A fake is a plugin process that serves lanes as a test wants.
type fake struct {
	codecpb.UnimplementedCodecServer
	lane func(codecpb.Codec_LaneServer) error
}

func (*fake) Configure(context.Context, *codecpb.ConfigureRequest) (*codecpb.ConfigureResponse, error) {
	return &codecpb.ConfigureResponse{MaxWire: fakeWire, Options: []byte("{}")}, nil
}

func (f *fake) Lane(stream codecpb.Codec_LaneServer) error { return f.lane(stream) }

// connect serves what register registers over a connection in memory, until the test ends.
func connect(t testing.TB, register func(*grpc.Server), options ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(options...)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	conn, err := grpc.NewClient("passthrough:fake", append(DialOptions(), grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return conn
}

// startFake returns the client of a fake, and the codec that it configured.
func startFake(t *testing.T, timeout time.Duration, lane func(codecpb.Codec_LaneServer) error) (*Client, codeccall.Codec) {
	t.Helper()
	const window = 64 << 10 // fixed, so that a plugin that does not receive has no room for a call
	conn := connect(t, func(s *grpc.Server) { codecpb.RegisterCodecServer(s, &fake{lane: lane}) }, grpc.MaxRecvMsgSize(maxMessage),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window))
	client := NewClient(conn)
	t.Cleanup(client.Close)
	client.SetTimeout(timeout)
	codec, err := client.Configure(t.Context(), codecs.Info{Name: "fake"}, json.RawMessage("{}"), fakeFrame)
	if err != nil {
		t.Fatal(err)
	}
	return client, codec
}

// answering is a lane that answers each whole call with what reply returns.
func answering(reply func(call *codecpb.Call) []*codecpb.Answer) func(codecpb.Codec_LaneServer) error {
	return func(stream codecpb.Codec_LaneServer) error {
		calls := map[uint64]*codecpb.Call{}
		for {
			part, err := stream.Recv()
			if err != nil {
				return ended(err)
			}
			call := calls[part.Id]
			if call == nil {
				call = part
				calls[part.Id] = call
			} else {
				call.Data, call.Lengths = append(call.Data, part.Data...), append(call.Lengths, part.Lengths...)
			}
			if len(call.Data) < int(call.Head.DataSize) || len(call.Lengths) < int(call.Head.Payloads) {
				continue
			}
			delete(calls, part.Id)
			for _, answer := range reply(call) {
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// unfinished is the correct answer of a codec that finds no frame.
func unfinished(call *codecpb.Call) *codecpb.Answer {
	return &codecpb.Answer{Id: call.Id, Head: &codecpb.AnswerHead{Examined: call.Head.DataSize}}
}

// raw is a message of these bytes.
func raw(b []byte) *codecpb.Answer {
	a := &codecpb.Answer{}
	a.ProtoReflect().SetUnknown(b)
	return a
}

func id(b []byte, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), n)
}

// shown is the wire of the decodes of these tests.
var shown = []byte(strings.Repeat("0123456789", 150))

// decodeShown makes a decode of the wire shown.
func decodeShown(t *testing.T, codec codeccall.Codec, eof bool) error {
	t.Helper()
	d := codec.Open()
	defer d.Close()
	return d.Decode(t.Context(), &codeccall.Decode{Wire: shown, Room: 500, EOF: eof, Skips: 2}, &codeccall.Decoded{})
}

// decodeWithRoom makes a decode that may be answered in many parts.
func decodeWithRoom(codec codeccall.Codec) error {
	d := codec.Open()
	defer d.Close()
	return d.Decode(context.Background(), &codeccall.Decode{Wire: shown, Room: 4 * leastPart}, &codeccall.Decoded{})
}

// encodeShown makes an encode of three payloads.
func encodeShown(t *testing.T, codec codeccall.Codec) error {
	t.Helper()
	d := codec.Open()
	defer d.Close()
	in := &codeccall.Encode{Wire: shown, Refs: []codecs.Ref{{Off: 0, Len: 2}, {Off: 2, Len: 2}, {Off: 9, Len: 0}}, Room: 5000}
	return d.Encode(t.Context(), in, &codeccall.Encoded{})
}

type (
	parts = []*codecpb.Answer
	head  = codecpb.AnswerHead
)

// Results that break the contract fail their own call, and no other.
func TestWrongDecodes(t *testing.T) {
	one := func(h *head, data string, offsets, lengths []uint32) parts {
		return parts{{Head: h, Data: []byte(data), Offsets: offsets, Lengths: lengths}}
	}
	refs := func(offsets, lengths []uint32) parts {
		return one(&head{Payloads: uint32(len(offsets)), Consumed: 1200, Examined: 1500}, "", offsets, lengths)
	}
	fault := func(f *codecpb.Fault) parts {
		return one(&head{Consumed: 10, Examined: 1500, Fault: f}, "", nil, nil)
	}
	skipped := func(f ...*codecpb.SkippedFault) parts {
		return one(&head{Consumed: 20, Examined: 1500, Wants: []string{"LF"}, SkippedFaults: f}, "", nil, nil)
	}
	type ns = []uint32
	long := make(ns, codecs.MaxPayloads+1)
	tests := []struct {
		name   string
		answer parts
		eof    bool
	}{
		{"no head", parts{{Data: []byte("hi")}}, false},
		{"nothing at all", parts{{}}, false},
		{"a second head", parts{{Head: &head{DataSize: 4}, Data: []byte("hi")}, {Head: &head{DataSize: 4}, Data: []byte("ho")}}, false},
		{"a second head that announces more", parts{{Head: &head{DataSize: 4}}, {Head: &head{DataSize: 400}}}, false},
		{"an empty part", parts{{Head: &head{DataSize: 4}}, {}}, false},
		{"more data than announced", one(&head{DataSize: 1}, "hi", nil, nil), false},
		{"more data than announced, in parts", parts{{Head: &head{DataSize: 3}, Data: []byte("hi")}, {Data: []byte("ho")}}, false},
		{"more payloads than announced", one(&head{Payloads: 1, Consumed: 9, Examined: 9}, "", ns{0, 1}, ns{1, 1}), false},
		{"an offset without a length", one(&head{Payloads: 2, Consumed: 9, Examined: 9}, "", ns{0, 1}, ns{1}), false},
		{"a length without an offset", one(&head{Payloads: 1, Consumed: 9, Examined: 9}, "", ns{0}, ns{1, 1}), false},
		{"more payloads than there may be", one(&head{Payloads: codecs.MaxPayloads + 1, Consumed: 1500, Examined: 1500}, "", long[:1], long[:1]), false},
		{"data announced beyond the room", one(&head{DataSize: 501, Examined: 1500}, "", nil, nil), false},
		{"data of 4 GiB announced", one(&head{DataSize: math.MaxUint32, Examined: 1500}, "", nil, nil), false},
		{"4 Gi payloads announced", one(&head{Payloads: math.MaxUint32, Examined: 1500}, "", nil, nil), false},
		{"an offset beyond wire and data", refs(ns{1501}, ns{1}), false},
		{"an offset near 4 GiB", refs(ns{math.MaxUint32}, ns{2}), false},
		{"a length near 4 GiB", refs(ns{0}, ns{math.MaxUint32}), false},
		{"an empty payload out of range", refs(ns{1501}, ns{0}), false},
		{"a payload that was not consumed", refs(ns{1199}, ns{2}), false},
		{"payloads that overlap", refs(ns{0, 9}, ns{10, 10}), false},
		{"payloads out of order", refs(ns{20, 0}, ns{10, 10}), false},
		{"a payload longer than max_frame", refs(ns{0}, ns{fakeFrame + 1}), false},
		{"a payload across wire and data",
			one(&head{Payloads: 1, DataSize: 4, Consumed: 1500, Examined: 1500}, "data", ns{1498}, ns{4}), false},
		{"built payloads that overlap",
			one(&head{Payloads: 2, DataSize: 4, Consumed: 1500, Examined: 1500}, "data", ns{1500, 1501}, ns{2, 2}), false},
		{"consumed more than shown", one(&head{Consumed: 1501, Examined: 1501}, "", nil, nil), false},
		{"consumed near 4 GiB", one(&head{Consumed: math.MaxUint32, Examined: math.MaxUint32}, "", nil, nil), false},
		{"examined less than consumed", one(&head{Consumed: 10, Examined: 9}, "", nil, nil), false},
		{"examined more than shown", one(&head{Examined: 1501}, "", nil, nil), false},
		{"a payload for no byte", one(&head{Payloads: 1, Examined: 1500}, "", ns{0}, ns{0}), false},
		{"more dropped than consumed", one(&head{Consumed: 2, Examined: 2, Dropped: 3}, "", nil, nil), false},
		{"dropped without a state", one(&head{Consumed: 2, Examined: 2, Dropped: 2}, "", nil, nil), false},
		{"skipped frames for no byte", one(&head{Consumed: 2, Examined: 2, Skipped: 3}, "", nil, nil), false},
		{"the end of the stream left", one(&head{Consumed: 1499, Examined: 1500}, "", nil, nil), true},
		{"more without progress or need", one(&head{Examined: 1500, More: true}, "", nil, nil), false},
		{"more for the room that there was", one(&head{Examined: 1500, More: true, RoomNeeded: 500}, "", nil, nil), false},
		{"more for more than a payload", one(&head{Examined: 1500, More: true, RoomNeeded: fakeFrame + 1}, "", nil, nil), false},
		{"more and a fault", one(&head{Examined: 1500, More: true, RoomNeeded: 600,
			Fault: &codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Resume: -1}}, "", nil, nil), false},
		{"too much state", one(&head{Examined: 1500, State: make([]byte, codecs.MaxState+1)}, "", nil, nil), false},
		{"a fault without a kind", fault(&codecpb.Fault{Offset: 10, At: 11, Resume: -1}), false},
		{"a fault of an unknown kind", fault(&codecpb.Fault{Kind: 5, Offset: 10, At: 11, Resume: -1}), false},
		{"a decode at fault as encodes are", fault(&codecpb.Fault{Kind: codecpb.Fault_UNREPRESENTABLE, Offset: 10, At: 11, Resume: -1}), false},
		{"a fault before what was consumed", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 9, At: 11, Resume: -1}), false},
		{"a fault beyond what was shown", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 1501, Resume: -1}), false},
		{"a fault before its frame", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 9, Resume: -1}), false},
		{"a fault that resumes where it is", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: 10}), false},
		{"a fault that resumes below never", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: -2}), false},
		{"a fault with much text", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: -1,
			Want: strings.Repeat("x", 201)}), false},
		{"a skipped fault without a kind", skipped(&codecpb.SkippedFault{Offset: 10, At: 11, Resume: 12}), false},
		{"a skipped fault of an unknown kind", skipped(&codecpb.SkippedFault{Kind: 5, Offset: 10, At: 11, Resume: 12}), false},
		{"a skipped fault that wants what is not there",
			skipped(&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: 12, Want: 1}), false},
		{"a skipped fault after what was consumed",
			skipped(&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: 21}), false},
		{"a skipped fault near 4 GiB",
			skipped(&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: math.MaxUint32, At: math.MaxUint32, Resume: math.MaxUint32}), false},
		{"a skipped fault after more payloads than there are",
			skipped(&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: 12, Payloads: math.MaxUint32}), false},
		{"a skipped fault of the stream's end",
			skipped(&codecpb.SkippedFault{Kind: codecpb.Fault_TRUNCATED, Offset: 10, At: 11, Resume: 12}), false},
		{"more skipped faults than were allowed", skipped(
			&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 10, Resume: 11},
			&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 11, At: 11, Resume: 12},
			&codecpb.SkippedFault{Kind: codecpb.Fault_MALFORMED, Offset: 12, At: 12, Resume: 13}), false},
		{"skipped faults that want much text", one(&head{Consumed: 20, Examined: 20, Wants: []string{strings.Repeat("x", 201)}}, "", nil, nil), false},
		{"skipped faults that want many texts",
			one(&head{Consumed: 20, Examined: 20, Wants: slices.Repeat([]string{"x"}, 17)}, "", nil, nil), false},
		{"a need beyond the longest frame", one(&head{Examined: 1500, Need: fakeWire + 2}, "", nil, nil), false},
		{"a need near 4 GiB", one(&head{Examined: 1500, Need: math.MaxUint32}, "", nil, nil), false},
		{"truncated before the end of the stream",
			fault(&codecpb.Fault{Kind: codecpb.Fault_TRUNCATED, Offset: 10, At: 1500, Resume: -1}), false},
		{"truncated within the wire", fault(&codecpb.Fault{Kind: codecpb.Fault_TRUNCATED, Offset: 10, At: 1499, Resume: -1}), true},
		{"truncated, and to be resumed", fault(&codecpb.Fault{Kind: codecpb.Fault_TRUNCATED, Offset: 10, At: 1500, Resume: 1501}), true},
		{"a fault that resumes beyond all streams",
			fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: math.MaxInt64}), false},
		{"a frame that is malformed by its length", fault(&codecpb.Fault{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 11, Resume: -1,
			Announced: fakeFrame + 1}), false},
		{"a frame too long that announces less", fault(&codecpb.Fault{Kind: codecpb.Fault_TOO_LONG, Offset: 10, At: 11, Resume: -1,
			Announced: fakeFrame}), false},
		{"empty payloads for the bytes of a skipped fault", one(&head{Payloads: 9, Consumed: 20, Examined: 20, Wants: []string{"x"},
			SkippedFaults: []*codecpb.SkippedFault{{Kind: codecpb.Fault_MALFORMED, Offset: 10, At: 10, Resume: 12, Payloads: 0}}},
			"", make(ns, 9), make(ns, 9)), false},
		{"resend where nothing was kept", one(&head{Resend: true}, "", nil, nil), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			failsItsCall(t, test.answer, codeccall.ErrMisbehaved, func(codec codeccall.Codec) error {
				return decodeShown(t, codec, test.eof)
			})
		})
	}
}

func TestWrongEncodes(t *testing.T) {
	one := func(h *head, size int, ends ...uint32) parts {
		h.DataSize, h.Payloads = uint32(size), uint32(len(ends))
		return parts{{Head: h, Data: make([]byte, size), Ends: ends}}
	}
	tests := []struct {
		name   string
		answer parts
	}{
		{"no head", parts{{Ends: []uint32{0, 0, 0}}}},
		{"more frames than payloads", one(&head{}, 9, 1, 2, 3, 4)},
		{"more frames than announced", parts{{Head: &head{Payloads: 2}, Ends: []uint32{0, 0, 0}}}},
		{"more frames than announced, in parts", parts{{Head: &head{Payloads: 2}, Ends: []uint32{0}}, {Ends: []uint32{0, 0}}}},
		{"fewer frames than payloads", one(&head{}, 9, 1, 2)},
		{"ends that go back", one(&head{}, 9, 4, 3, 9)},
		{"an end after what was written", one(&head{}, 9, 3, 6, 10)},
		{"a frame longer than max_wire", one(&head{}, 2500, 2001, 2200, 2500)},
		{"nothing for a payload", one(&head{}, 9, 3, 3, 9)},
		{"wire after the last frame", one(&head{}, 10, 3, 6, 9)},
		{"wire and no frame", one(&head{More: true, RoomNeeded: 1999}, 10)},
		{"more than the room", one(&head{}, 5001, 3, 6, 9)},
		{"wire of 4 GiB announced", parts{{Head: &head{DataSize: math.MaxUint32, Payloads: 3}}}},
		{"more without progress or need", one(&head{More: true}, 0)},
		{"more for more than a frame", one(&head{More: true, RoomNeeded: fakeWire + 1}, 0)},
		{"more and a fault", one(&head{More: true, Fault: &codecpb.Fault{Kind: codecpb.Fault_UNREPRESENTABLE}}, 9, 9)},
		{"too much state", one(&head{State: make([]byte, codecs.MaxState+1)}, 9, 3, 6, 9)},
		{"a fault after the last payload", one(&head{Fault: &codecpb.Fault{Kind: codecpb.Fault_UNREPRESENTABLE}}, 9, 3, 6, 9)},
		{"a fault after its payload", one(&head{Fault: &codecpb.Fault{Kind: codecpb.Fault_UNREPRESENTABLE, At: 3}}, 9, 9)},
		{"an encode at fault as decodes are", one(&head{Fault: &codecpb.Fault{Kind: codecpb.Fault_TRUNCATED}}, 9, 9)},
		{"resend", one(&head{Resend: true}, 0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			failsItsCall(t, test.answer, codeccall.ErrMisbehaved, func(codec codeccall.Codec) error { return encodeShown(t, codec) })
		})
	}
}

func TestCodecFails(t *testing.T) {
	failsItsCall(t, parts{{Head: &head{Error: "sorry", DataSize: math.MaxUint32}}}, codeccall.ErrCodecFailed,
		func(codec codeccall.Codec) error {
			err := encodeShown(t, codec)
			if err == nil || !strings.Contains(err.Error(), "sorry") {
				t.Errorf("got %v, want what the process said", err)
			}
			return err
		})
	failsItsCall(t, parts{{Head: &head{Error: strings.Repeat("x", 200_000)}}}, codeccall.ErrCodecFailed,
		func(codec codeccall.Codec) error {
			err := decodeShown(t, codec, false)
			if err == nil || len(err.Error()) > maxError+100 {
				t.Errorf("got an error of %d bytes, want at most %d of what the process said", len(err.Error()), maxError)
			}
			return err
		})
}

// failsItsCall runs call against a process that gives its first call this answer. It checks that the call fails with want and
// allocates little memory, and that later calls are served.
func failsItsCall(t *testing.T, answer parts, want error, call func(codeccall.Codec) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		answered := false
		client, codec := startFake(t, time.Minute, answering(func(c *codecpb.Call) parts {
			if answered {
				return parts{unfinished(c)}
			}
			answered = true
			for _, a := range answer {
				a.Id = c.Id
			}
			return answer
		}))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := call(codec)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("the call took %d bytes of memory", took)
		}
		for range 2 * lanesPerProcess {
			if err := decodeShown(t, codec, false); err != nil {
				t.Errorf("a call after it: %v", err)
			}
		}
		if err := client.Err(); err != nil {
			t.Errorf("the client failed: %v", err)
		}
	})
}

// Messages after which no message can be trusted end the client.
func TestWrongMessages(t *testing.T) {
	headOf := func(b []byte) []byte {
		return append(protowire.AppendTag(b, 2, protowire.BytesType), 0)
	}
	packed := func(b []byte, num protowire.Number, numbers ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), numbers)
	}
	tests := []struct {
		name    string
		message *codecpb.Answer
		want    error
	}{
		{"what is not protobuf", raw([]byte{0xFF, 0xFF, 0xFF}), codeccall.ErrMisbehaved},
		{"a field that is cut off", raw(append(id(nil, 1), 0x1a, 0x7f, 'x')), codeccall.ErrMisbehaved},
		{"two ids", raw(headOf(id(id(nil, 1), 1))), codeccall.ErrMisbehaved},
		{"two heads in a message", raw(headOf(headOf(id(nil, 1)))), codeccall.ErrMisbehaved},
		{"a head that is a number", raw(append(id(nil, 1), 2<<3, 1)), codeccall.ErrMisbehaved},
		{"numbers that are not packed", raw(append(headOf(id(nil, 1)), 4<<3, 1)), codeccall.ErrMisbehaved},
		{"offsets twice", raw(packed(packed(headOf(id(nil, 1)), 4, 1), 4, 1)), codeccall.ErrMisbehaved},
		{"a message longer than a part may be",
			&codecpb.Answer{Id: 1, Head: &head{DataSize: maxPart}, Data: make([]byte, maxPart)}, codeccall.ErrMisbehaved},
		{"a message of 4 MiB", &codecpb.Answer{Id: 1, Head: &head{DataSize: 4 << 20}, Data: make([]byte, 4<<20)}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			endsClient(t, test.want, answering(func(*codecpb.Call) parts { return parts{test.message} }),
				func(codec codeccall.Codec) error { return decodeShown(t, codec, false) })
		})
	}
}

// endsClient runs call on a client of lane. It checks that the call fails without effect, that the client reports the reason, and
// that further calls fail at once. A nil want is an error of the connection.
func endsClient(t *testing.T, want error, lane func(codecpb.Codec_LaneServer) error, call func(codeccall.Codec) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, codec := startFake(t, time.Minute, lane)
		if err := call(codec); !errors.Is(err, codeccall.ErrGone) {
			t.Errorf("got %v, want %v", err, codeccall.ErrGone)
		}
		<-client.Failed()
		if err := client.Err(); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("the client failed with %v, want %v", err, want)
		}
		if err := decodeShown(t, codec, false); !errors.Is(err, codeccall.ErrGone) {
			t.Errorf("a call after it: got %v, want %v", err, codeccall.ErrGone)
		}
	})
}

func TestLaneEnds(t *testing.T) {
	decode := func(codec codeccall.Codec) error { return decodeShown(t, codec, false) }
	firstPart := func(then error) func(codecpb.Codec_LaneServer) error {
		return func(stream codecpb.Codec_LaneServer) error {
			if _, err := stream.Recv(); err != nil {
				return err
			}
			return then
		}
	}
	t.Run("at once", func(t *testing.T) {
		endsClient(t, nil, func(codecpb.Codec_LaneServer) error { return nil }, decode)
	})
	t.Run("when a call comes", func(t *testing.T) { endsClient(t, io.EOF, firstPart(nil), decode) })
	t.Run("with an error", func(t *testing.T) {
		sorry := status.Error(codes.Internal, "sorry")
		endsClient(t, sorry, firstPart(sorry), decode)
	})
	t.Run("amid an answer", func(t *testing.T) {
		endsClient(t, nil, func(stream codecpb.Codec_LaneServer) error {
			call, err := stream.Recv()
			if err != nil {
				return err
			}
			return stream.Send(&codecpb.Answer{Id: call.Id, Head: &head{DataSize: 2 * leastPart}, Data: make([]byte, leastPart)})
		}, decodeWithRoom)
	})
	t.Run("amid a call", func(t *testing.T) {
		sorry := status.Error(codes.Internal, "sorry") // sending does not return this error
		endsClient(t, sorry, firstPart(sorry), func(codec codeccall.Codec) error {
			return codec.Open().Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, 10<<20)}, &codeccall.Decoded{})
		})
	})
}

// An answer that arrives before the last part of its call belongs to no call that was made.
func TestAnswerTooEarly(t *testing.T) {
	lane := func(stream codecpb.Codec_LaneServer) error {
		call, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(unfinished(call)); err != nil {
			return err
		}
		<-stream.Context().Done() // the rest of the call can't be sent, because the window is full
		return nil
	}
	endsClient(t, codeccall.ErrMisbehaved, lane, func(codec codeccall.Codec) error {
		return codec.Open().Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, 10<<20)}, &codeccall.Decoded{})
	})
}

// An answer to a call that is not under way breaks the contract, and the lane ends at once.
func TestAnswersToNobody(t *testing.T) {
	tests := []struct {
		name   string
		answer func(c *codecpb.Call) parts
	}{
		{"an id before the first", func(c *codecpb.Call) parts { return parts{{Id: c.Id - 1, Head: &head{}}} }},
		{"an id that no call has had", func(c *codecpb.Call) parts { return parts{{Id: c.Id + 1000, Head: &head{}}} }},
		{"a call that was answered before", func(c *codecpb.Call) parts {
			if c.Id > 1 {
				return parts{unfinished(&codecpb.Call{Id: 1, Head: c.Head})}
			}
			return parts{unfinished(c)}
		}},
		{"a part beyond the end", func(c *codecpb.Call) parts {
			if c.Id > 1 {
				return parts{{Id: 1, Data: []byte("more")}}
			}
			return parts{unfinished(c)}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			endsClient(t, codeccall.ErrMisbehaved, answering(test.answer), func(codec codeccall.Codec) (err error) {
				d := codec.Open()
				defer d.Close()
				for range 3 {
					if err = d.Decode(t.Context(), &codeccall.Decode{Wire: shown, Room: 9}, &codeccall.Decoded{}); err != nil {
						break
					}
				}
				return err
			})
		})
	}
}

// An answer that is shorter than it announced breaks the contract, and the host does not wait for more. Only that call fails; other
// calls on the lane are answered.
func TestAnswerStopsShort(t *testing.T) {
	tests := []struct {
		name, want string
		answer     func(c *codecpb.Call) parts
	}{
		{"bytes are missing", "2 of 9 bytes", func(c *codecpb.Call) parts {
			return parts{{Id: c.Id, Head: &head{DataSize: 9}, Data: []byte("hi")}}
		}},
		{"all bytes are missing", "0 of 9 bytes", func(c *codecpb.Call) parts { return parts{{Id: c.Id, Head: &head{DataSize: 9}}} }},
		{"payloads are missing", "1 of 2 payloads", func(c *codecpb.Call) parts {
			return parts{{Id: c.Id, Head: &head{Payloads: 2, Consumed: 2}, Offsets: []uint32{0}, Lengths: []uint32{1}}}
		}},
		{"the second part is the last, and too short", "4097 of 8192 bytes", func(c *codecpb.Call) parts {
			return parts{{Id: c.Id, Head: &head{DataSize: 2 * leastPart}, Data: make([]byte, leastPart)}, {Id: c.Id, Data: []byte("x")}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, codec := startFake(t, time.Hour, answering(func(c *codecpb.Call) parts {
					if c.Id > 1 {
						return parts{unfinished(c)}
					}
					return test.answer(c)
				}))
				d := codec.Open()
				defer d.Close()
				begin := time.Now()
				err := d.Decode(t.Context(), &codeccall.Decode{Wire: shown, Room: 4 * leastPart}, &codeccall.Decoded{})
				if !errors.Is(err, codeccall.ErrMisbehaved) || !strings.Contains(err.Error(), "stops short") || !strings.Contains(err.Error(), test.want) || time.Since(begin) != 0 {
					t.Errorf("got %v after %v, want %v, %s, at once", err, time.Since(begin), codeccall.ErrMisbehaved, test.want)
				}
				var out codeccall.Decoded
				if err := d.Decode(t.Context(), &codeccall.Decode{Wire: shown, Room: 9}, &out); err != nil || out.Examined != len(shown) {
					t.Errorf("the next call: got %+v and %v", out, err)
				}
			})
		})
	}
}

// A process that asks for kept bytes again and again receives the whole wire once.
func TestResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		always := false
		_, codec := startFake(t, time.Minute, answering(func(c *codecpb.Call) parts {
			if c.Head.Kept > 0 || always {
				return parts{{Id: c.Id, Head: &head{Resend: true}}}
			}
			return parts{unfinished(c)}
		}))
		// With its real limit this codec leaves too few bytes for the process to keep, so the test sets a larger limit.
		remote := codec.(*remote)
		remote.properties.MaxFrame, remote.properties.MaxWire = 1<<20, 1<<20
		d := remote.Open().(*direction)
		var out codeccall.Decoded
		wire := make([]byte, 3*keepFrom)
		show := func(n int) error {
			in := &codeccall.Decode{Wire: wire[:n], Examined: out.Examined, Left: out.Examined}
			return d.Decode(t.Context(), in, &out)
		}
		for _, n := range []int{keepFrom, keepFrom + 1, keepFrom + 9, 2 * keepFrom} {
			if err := show(n); err != nil || out.Examined != n || d.left != n {
				t.Fatalf("%d bytes: got %+v and %v, kept %d", n, out, err, d.left)
			}
		}
		always = true
		if err := show(3 * keepFrom); !errors.Is(err, codeccall.ErrMisbehaved) {
			t.Errorf("resend of what was sent: got %v, want %v", err, codeccall.ErrMisbehaved)
		}
	})
}

const patience = 5 * time.Second

// A process that hangs is noticed exactly after the timeout.
func TestOverdue(t *testing.T) {
	hang := func(stream codecpb.Codec_LaneServer) error {
		<-stream.Context().Done()
		return nil
	}
	large := func(t *testing.T, codec codeccall.Codec) error {
		return codec.Open().Decode(t.Context(), &codeccall.Decode{Wire: make([]byte, 10<<20)}, &codeccall.Decoded{})
	}
	small := func(t *testing.T, codec codeccall.Codec) error { return decodeShown(t, codec, false) }
	tests := []struct {
		name string
		lane func(codecpb.Codec_LaneServer) error
		call func(*testing.T, codeccall.Codec) error
		want error // of the call; a call that was not sent completely is not the cause
	}{
		{"no answer", answering(func(*codecpb.Call) parts { return nil }), small, codeccall.ErrOverdue},
		{"no answer to a call of many parts", answering(func(*codecpb.Call) parts { return nil }), large, codeccall.ErrOverdue},
		{"half an answer", answering(func(c *codecpb.Call) parts {
			return parts{{Id: c.Id, Head: &head{DataSize: 2 * leastPart, Examined: 1500}, Data: make([]byte, leastPart)}}
		}), func(t *testing.T, codec codeccall.Codec) error { return decodeWithRoom(codec) }, codeccall.ErrOverdue},
		{"nobody reads", hang, small, codeccall.ErrOverdue},
		{"nobody reads a call of many parts", hang, large, codeccall.ErrGone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, codec := startFake(t, patience, test.lane)
				begin := time.Now()
				if err := test.call(t, codec); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if took := time.Since(begin); took != patience {
					t.Errorf("noticed after %v, want %v", took, patience)
				}
				<-client.Failed()
				if err := client.Err(); !errors.Is(err, codeccall.ErrOverdue) {
					t.Errorf("the client failed with %v, want %v", err, codeccall.ErrOverdue)
				}
			})
		})
	}
}

// A process that accepts no stream hangs too.
func TestNoLanes(t *testing.T) {
	for _, streams := range []uint32{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			conn := connect(t, func(s *grpc.Server) {
				codecpb.RegisterCodecServer(s, &fake{lane: answering(func(c *codecpb.Call) parts { return parts{unfinished(c)} })})
			}, grpc.MaxConcurrentStreams(streams))
			// Like go-plugin, whose streams stay open.
			held, err := codecpb.NewCodecClient(conn).Lane(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer held.CloseSend()
			if err := held.Send(&codecpb.Call{Id: 1, Head: &codecpb.CallHead{}}); err != nil {
				t.Fatal(err)
			}
			if _, err := held.Recv(); err != nil { // by now the limit is known
				t.Fatal(err)
			}
			client := NewClient(conn)
			defer client.Close()
			client.SetTimeout(patience)
			codec := &remote{client: client, properties: codeccall.Properties{MaxFrame: fakeFrame, MaxWire: fakeWire}}
			for range streams - 1 {
				if err := decodeShown(t, codec, false); err != nil {
					t.Fatal(err)
				}
			}
			if err := decodeShown(t, codec, false); !errors.Is(err, codeccall.ErrOverdue) {
				t.Errorf("got %v, want %v", err, codeccall.ErrOverdue)
			}
			<-client.Failed()
		})
	}
}

// Closing a client ends all calls that wait for a process, and leaves no goroutine.
func TestClose(t *testing.T) {
	hang := func(stream codecpb.Codec_LaneServer) error {
		<-stream.Context().Done()
		return nil
	}
	for name, size := range map[string]int{"sent": 9, "being sent": 5 << 20, "waiting for others": window - 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, codec := startFake(t, 0, hang)
				results := make(chan error, 6)
				for range cap(results) {
					go func() {
						in := &codeccall.Decode{Wire: make([]byte, size)}
						results <- codec.Open().Decode(t.Context(), in, &codeccall.Decoded{})
					}()
				}
				synctest.Wait()
				client.Close()
				for range cap(results) {
					if err := <-results; !errors.Is(err, codeccall.ErrGone) {
						t.Errorf("got %v, want %v", err, codeccall.ErrGone)
					}
				}
				client.Close()
			})
		})
	}
}

// A long call delays only its own session.
func TestSlowCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const release = 1 // the room of the call on which the slow call waits
		_, codec := startFake(t, time.Minute, func(stream codecpb.Codec_LaneServer) error {
			var slow parts
			return answering(func(c *codecpb.Call) parts {
				switch {
				case c.Head.Eof:
					slow = parts{{Id: c.Id, Head: &head{Consumed: 1500, Examined: 1500}}}
					return nil
				case c.Head.Room == release:
					return append(parts{unfinished(c)}, slow...)
				}
				return parts{unfinished(c)}
			})(stream)
		})
		result := make(chan error, 1)
		go func() { result <- decodeShown(t, codec, true) }()
		synctest.Wait()
		directions := make([]codeccall.Direction, 2*lanesPerProcess)
		for i := range directions {
			directions[i] = codec.Open()
		}
		all := func(room int) {
			for _, d := range directions {
				if err := d.Decode(t.Context(), &codeccall.Decode{Wire: shown, Room: room}, &codeccall.Decoded{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		for range 50 {
			all(100)
		}
		if len(result) > 0 {
			t.Fatalf("the slow call ended early: %v", <-result)
		}
		all(release)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// A process's description is checked before it is used.
func TestWrongControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := &said{}
		client := NewClient(connect(t, func(s *grpc.Server) { codecpb.RegisterCodecServer(s, said) }))
		defer client.Close()
		for _, d := range []*codecpb.DescribeResponse{
			{OptionsSchema: []byte("{}")},
			{Name: strings.Repeat("x", 101), OptionsSchema: []byte("{}")},
			{Name: "x", Version: strings.Repeat("x", 101), OptionsSchema: []byte("{}")},
			{Name: "x", Description: strings.Repeat("x", 1001), OptionsSchema: []byte("{}")},
			{Name: "x"},
			{Name: "x", OptionsSchema: []byte("{")},
		} {
			said.describe = d
			if _, err := client.Describe(t.Context()); !errors.Is(err, codeccall.ErrMisbehaved) {
				t.Errorf("describe as %v: got %v, want %v", d, err, codeccall.ErrMisbehaved)
			}
		}
		for _, c := range []*codecpb.ConfigureResponse{
			{Options: []byte("{}")},
			{Options: []byte("{}"), MaxWire: 1 << 31},
			{MaxWire: 9},
			{Options: []byte("{"), MaxWire: 9},
		} {
			said.configure = c
			if _, err := client.Configure(t.Context(), codecs.Info{}, nil, 9); !errors.Is(err, codeccall.ErrMisbehaved) {
				t.Errorf("configured as %v: got %v, want %v", c, err, codeccall.ErrMisbehaved)
			}
		}
		said.describe = &codecpb.DescribeResponse{Name: "x", OptionsSchema: make([]byte, maxMessage+1)}
		if _, err := client.Describe(t.Context()); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a description beyond 4 MiB: got %v", err)
		}
		said.configure = &codecpb.ConfigureResponse{Errors: []*codecpb.OptionError{{Option: "a", Want: "b"}, {}}}
		_, err := client.Configure(t.Context(), codecs.Info{}, nil, 9)
		if e := (*codecs.OptionError)(nil); !errors.As(err, &e) || e.Option != "a" {
			t.Errorf("options at fault: got %v", err)
		}
	})
}

// said answers the control plane with the answers of a test.
type said struct {
	codecpb.UnimplementedCodecServer
	describe  *codecpb.DescribeResponse
	configure *codecpb.ConfigureResponse
}

func (s *said) Describe(context.Context, *codecpb.DescribeRequest) (*codecpb.DescribeResponse, error) {
	return s.describe, nil
}

func (s *said) Configure(context.Context, *codecpb.ConfigureRequest) (*codecpb.ConfigureResponse, error) {
	return s.configure, nil
}

// lentMemory is memory of another plugin process.
type lentMemory struct {
	codeccall.Loan
	ended int
}

func (l *lentMemory) End() { l.ended++ }

// A result in borrowed memory, from a call to another process, is given back before the answer is received: the memory is read-only.
func TestAnswersAreNotWrittenIntoBorrowedMemory(t *testing.T) {
	_, codec := startFake(t, time.Minute, answering(func(call *codecpb.Call) []*codecpb.Answer {
		if call.Head.Kind == codecpb.Kind_KIND_ENCODE {
			return []*codecpb.Answer{{Id: call.Id, Head: &codecpb.AnswerHead{DataSize: 3, Payloads: 1}, Data: []byte("new"), Ends: []uint32{3}}}
		}
		return []*codecpb.Answer{unfinished(call)}
	}))
	d := codec.Open()
	defer d.Close()
	memory := []byte("old memory")
	var lent lentMemory
	encoded := codeccall.Encoded{Wire: memory[:3], Lent: &lent}
	in := codeccall.Encode{Data: []byte("x"), Refs: []codecs.Ref{{Len: 1}}, Room: 100}
	if err := d.Encode(t.Context(), &in, &encoded); err != nil || string(encoded.Wire) != "new" {
		t.Fatalf("got %q, %v", encoded.Wire, err)
	}
	decoded := codeccall.Decoded{Data: memory[:3], Lent: &lent}
	if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("x"), Room: 100}, &decoded); err != nil {
		t.Fatal(err)
	}
	if string(memory) != "old memory" || lent.ended != 2 || encoded.Lent != nil || decoded.Lent != nil {
		t.Errorf("the memory has %q, and %d loans were ended; want it as it was, and 2", memory, lent.ended)
	}
}

// The process can't have begun a call for which there was no lane any more.
func TestCallWithoutALane(t *testing.T) {
	client, codec := startFake(t, time.Minute, answering(nil))
	d := codec.Open()
	defer d.Close()
	client.Close()
	if err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte("x")}, &codeccall.Decoded{}); !errors.Is(err, codeccall.ErrNotBegun) {
		t.Errorf("got %v, want %v", err, codeccall.ErrNotBegun)
	}
}

package codecrpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// pool holds memory for messages. Its sizes fit small calls, whole reads, and full parts.
var pool = mem.NewTieredBufferPool(1<<10, 16<<10, 80<<10, maxPart)

// outgoing is an encoded message. It is sent once.
type outgoing struct {
	bytes *[]byte
}

// newOutgoing returns an empty message with room for n bytes.
func newOutgoing(n int) *outgoing {
	b := pool.Get(n)
	*b = (*b)[:0]
	return &outgoing{bytes: b}
}

// incoming receives a message without decoding it. The receiver must free it.
type incoming struct {
	buffer mem.Buffer
}

func (m *incoming) bytes() []byte { return m.buffer.ReadOnlyData() }

func (m *incoming) free() {
	if m.buffer != nil {
		m.buffer.Free()
		m.buffer = nil
	}
}

// laneCodec is gRPC's protobuf codec, except that it passes on the messages of a lane unchanged: message.go encodes them.
// It has protobuf's name, because both write protobuf.
type laneCodec struct{}

func (laneCodec) Name() string { return proto.Name }

func (laneCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*outgoing); ok {
		if m.bytes == nil {
			return nil, fmt.Errorf("message was sent already")
		}
		b := mem.NewBuffer(m.bytes, pool)
		m.bytes = nil
		return mem.BufferSlice{b}, nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

func (laneCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*incoming); ok {
		m.buffer = data.MaterializeToBuffer(pool)
		return nil
	}
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}

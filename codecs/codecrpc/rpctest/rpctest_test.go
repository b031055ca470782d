package rpctest_test

import (
	"errors"
	"testing"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/rpctest"
)

// one is a codec of payloads of one byte, each of which is its own frame. A decode of "!" does not return.
type one struct{}

var oneCodec = codecs.New(codecs.Info{Name: "one", Version: "1.0.0", Description: "single bytes"}, struct{}{},
	func(*struct{}, int) (codecs.Framing, error) { return one{}, nil })

func (one) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if string(in.Bytes) == "!" {
		select {}
	}
	for i := range in.Bytes {
		if err := out.Refer(i, i+1); err != nil {
			return i, err
		}
	}
	return len(in.Bytes), nil
}

func (one) Encode(*codecs.Frames, codecs.Batch) (int, error) {
	return 0, &codecs.Fault{Err: codecs.ErrUnrepresentable, Want: "nothing"}
}

func TestMain(m *testing.M) { rpctest.Main(m, oneCodec) }

func TestCallThatDoesNotReturn(t *testing.T) {
	t.Setenv("FRAMEHOST_CODECTEST_TIMEOUT", "6s") // 2s for a call
	rpctest.EachPlane(t, func(t *testing.T, plane rpctest.Plane) {
		codec, err := plane.Start(t, nil)(nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		direction := codec.Open()
		defer direction.Close()
		var out codeccall.Decoded
		if err := direction.Decode(t.Context(), &codeccall.Decode{Wire: []byte("!")}, &out); !errors.Is(err, codeccall.ErrOverdue) {
			t.Errorf("got %v, want %v", err, codeccall.ErrOverdue)
		}
	})
}

func TestStart(t *testing.T) {
	rpctest.EachPlane(t, testStart)
}

func testStart(t *testing.T, plane rpctest.Plane) {
	configure := plane.Start(t, nil)
	codec, err := configure(nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := codec.Properties(); got.Info != oneCodec.Info() || got.MaxFrame != 10 || got.MaxWire != codecs.DefaultMaxWire(10) {
		t.Errorf("got properties %+v", got)
	}
	direction := codec.Open()
	defer direction.Close()
	var out codeccall.Decoded
	if err := direction.Decode(t.Context(), &codeccall.Decode{Wire: []byte("hi")}, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Refs) != 2 || out.Consumed != 2 {
		t.Errorf("got %+v, want two payloads of a byte", out)
	}
	loan := codec.(codeccall.Lender).Lend(1)
	if lends := loan != nil; lends != (plane == rpctest.SharedMemory) {
		t.Errorf("plane %v: lends memory: %v", plane, lends)
	}
	if loan != nil {
		loan.End()
	}
	if _, err := configure([]byte(`{"no such option": 1}`), 10); err == nil {
		t.Error("an option that does not exist: got no error")
	}
}

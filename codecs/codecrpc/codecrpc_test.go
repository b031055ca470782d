package codecrpc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
)

type lineOptions struct {
	Terminator codecs.Bytes `json:"terminator" jsonschema_description:"ends each payload"`
}

type line struct{ end byte }

// lines is a codec that refers to payloads and remembers how far it searched.
var lines = codecs.New(codecs.Info{Name: "lines", Version: "1.2.3", Description: "payload and terminator", StateVersion: 7},
	lineOptions{Terminator: "\n"},
	func(o *lineOptions, maxFrame int) (codecs.Framing, error) {
		if len(o.Terminator) != 1 {
			return nil, &codecs.OptionError{Option: "terminator", Got: fmt.Sprintf("%d bytes", len(o.Terminator)), Want: "1 byte"}
		}
		return line{o.Terminator[0]}, nil
	})

func (l line) MaxWire(maxFrame int) int { return maxFrame + 1 }

func (l line) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	begin, from := 0, in.Examined
	for {
		i := bytes.IndexByte(in.Bytes[from:], l.end)
		if i < 0 {
			out.SetExamined(len(in.Bytes))
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "a terminator", Resume: len(in.Bytes)}
			}
			return begin, nil
		}
		if err := out.Refer(begin, from+i); err != nil {
			return begin, err
		}
		begin, from = from+i+1, from+i+1
	}
}

func (l line) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	for i := range in.Len() {
		payload := in.At(i)
		if at := bytes.IndexByte(payload, l.end); at >= 0 {
			return i, &codecs.Fault{At: at, Err: codecs.ErrUnrepresentable, Want: "no terminator"}
		}
		wire, err := out.Grow(len(payload) + 1)
		if err != nil {
			return i, err
		}
		if err := out.Commit(append(append(wire, payload...), l.end)); err != nil {
			return i, err
		}
	}
	return in.Len(), nil
}

// serveUnix serves codec on a unix socket, as a plugin process does, and returns a client of it.
func serveUnix(t testing.TB, codec codecs.Codec) *Client {
	t.Helper()
	listener, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(ServerOptions()...)
	if err := (&Plugin{Codec: codec}).GRPCServer(nil, server); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+listener.Addr().String(),
		append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(conn)
	t.Cleanup(func() {
		client.Close()
		conn.Close()
		server.Stop()
		<-served
	})
	return client
}

func configure(t testing.TB, client *Client, options string, maxFrame int) codeccall.Codec {
	t.Helper()
	d, err := client.Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	codec, err := client.Configure(context.Background(), d.Info, []byte(options), maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func TestBatch(t *testing.T) {
	codec := configure(t, serveUnix(t, lines), "", 4096)
	d := codec.Open()
	defer d.Close()
	var decoded codeccall.Decoded
	in := &codeccall.Decode{Wire: []byte("hi\nho\na"), Room: 1024}
	if err := d.Decode(t.Context(), in, &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded.Consumed != 6 || decoded.Examined != 7 || len(decoded.Refs) != 2 || decoded.Refs[1] != (codecs.Ref{Off: 3, Len: 2}) {
		t.Fatalf("got %+v", decoded)
	}
	var encoded codeccall.Encoded
	if err := d.Encode(t.Context(), &codeccall.Encode{Wire: in.Wire, Refs: decoded.Refs, Room: 100}, &encoded); err != nil {
		t.Fatal(err)
	}
	if string(encoded.Wire) != "hi\nho\n" || len(encoded.Ends) != 2 || encoded.Ends[0] != 3 {
		t.Fatalf("got %+v", encoded)
	}
}

// A frame that arrives in many reads is sent once: the process keeps the bytes that calls leave.
func TestLongFrame(t *testing.T) {
	const size = 5 << 20
	codec := configure(t, serveUnix(t, lines), "", size)
	d := codec.Open().(*direction)
	wire := append(bytes.Repeat([]byte("x"), size), "\nrest"...)
	var out codeccall.Decoded
	examined, left, sent := 0, 0, 0
	for shown := 0; len(out.Refs) == 0; {
		shown = min(shown+300_000, len(wire))
		in := &codeccall.Decode{Wire: wire[:shown], Examined: examined, Left: left}
		if err := d.Decode(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		sent += int(d.decoder.head.dataSize)
		examined, left = out.Examined-out.Consumed, shown-out.Consumed
	}
	if out.Refs[0] != (codecs.Ref{Off: 0, Len: size}) {
		t.Fatalf("got %+v", out.Refs)
	}
	if sent > len(wire)+keepFrom {
		t.Errorf("sent %d bytes for a wire of %d", sent, len(wire))
	}
	// The same payload back, in many parts.
	var encoded codeccall.Encoded
	if err := d.Encode(t.Context(), &codeccall.Encode{Wire: wire, Refs: out.Refs, Room: size + 1}, &encoded); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded.Wire, wire[:size+1]) {
		t.Error("the wire differs")
	}
}

func BenchmarkPlane(b *testing.B) {
	for _, size := range []int{64, 256, 1024, 16384} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			codec := configure(b, serveUnix(b, lines), "", 1<<20)
			d := codec.Open()
			frame := append(bytes.Repeat([]byte("x"), size), '\n')
			in := &codeccall.Decode{Wire: bytes.Repeat(frame, (256<<10)/len(frame))}
			var decoded codeccall.Decoded
			var encoded codeccall.Encoded
			b.SetBytes(int64(len(in.Wire)))
			b.ReportAllocs()
			frames := 0
			for b.Loop() {
				if err := d.Decode(b.Context(), in, &decoded); err != nil {
					b.Fatal(err)
				}
				encode := codeccall.Encode{Wire: in.Wire, Refs: decoded.Refs, Room: 512 << 10}
				if err := d.Encode(b.Context(), &encode, &encoded); err != nil {
					b.Fatal(err)
				}
				frames += encoded.Taken()
			}
			b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

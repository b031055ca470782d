package codecrpc

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
)

// A held framing is lines, with decode calls that wait.
type heldLine struct {
	line
	began, goOn chan struct{}
}

func (h heldLine) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	if strings.HasPrefix(string(in.Bytes), "wait") {
		h.began <- struct{}{}
		<-h.goOn
	}
	return h.line.Decode(out, in)
}

// A released codec is not configured any more; its call that was under way is answered.
func TestRelease(t *testing.T) {
	for _, plane := range []struct {
		name  string
		serve func(*testing.T, codecs.Codec) *Client
	}{
		{"grpc", func(t *testing.T, c codecs.Codec) *Client { return serveUnix(t, c) }},
		{"shm", serveShared},
	} {
		t.Run(plane.name, func(t *testing.T) {
			framing := heldLine{line{'\n'}, make(chan struct{}), make(chan struct{})}
			client := plane.serve(t, codecs.New(codecs.Info{Name: "held", Version: "1"}, struct{}{},
				func(*struct{}, int) (codecs.Framing, error) { return framing, nil }))
			codec, other := configure(t, client, "{}", 100), configure(t, client, "{}", 100)
			find := func(codec codeccall.Codec, wire string) error {
				d := codec.Open()
				defer d.Close()
				var out codeccall.Decoded
				err := d.Decode(t.Context(), &codeccall.Decode{Wire: []byte(wire), Room: 100}, &out)
				if err == nil && len(out.Refs) != 1 {
					t.Errorf("found %d payloads in %q, want 1", len(out.Refs), wire)
				}
				return err
			}
			answered := make(chan error)
			go func() { answered <- find(codec, "wait\n") }()
			<-framing.began
			for range 2 { // a number that is not configured is no error
				if released, err := client.Release(t.Context(), codec); !released || err != nil {
					t.Errorf("release: got %t and %v, want true", released, err)
				}
			}
			close(framing.goOn)
			if err := <-answered; err != nil {
				t.Errorf("the call that was under way: %v", err)
			}
			if err := find(codec, "hi\n"); !errors.Is(err, codeccall.ErrCodecFailed) || !strings.Contains(err.Error(), "configured") {
				t.Errorf("a call of the released codec: got %v, want that it is not configured", err)
			}
			if err := find(other, "hi\n"); err != nil {
				t.Errorf("a call of the other codec: %v", err)
			}
			if err := find(configure(t, client, "{}", 100), "hi\n"); err != nil {
				t.Errorf("a call of the codec that is configured again: %v", err)
			}
			if client.Err() != nil {
				t.Errorf("the client failed: %v", client.Err())
			}
		})
	}
}

// A plugin without the method is asked once, and its codecs go on.
func TestReleaseIsNotKnown(t *testing.T) {
	asked, answer := 0, error(nil)
	conn := connect(t, func(s *grpc.Server) { codecpb.RegisterCodecServer(s, &fake{}) }, grpc.UnaryInterceptor(
		func(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if info.FullMethod != codecpb.Codec_Release_FullMethodName {
				return next(ctx, in)
			}
			asked++
			if answer != nil {
				return nil, answer
			}
			return next(ctx, in)
		}))
	client := NewClient(conn)
	t.Cleanup(client.Close)
	codec := func() codeccall.Codec {
		c, err := client.Configure(t.Context(), codecs.Info{Name: "fake"}, nil, fakeFrame)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	answer = status.Error(codes.Internal, "out of order")
	if released, err := client.Release(t.Context(), codec()); released || err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("got %t and %v, want the plugin's error", released, err)
	}
	answer = nil
	for range 3 {
		if released, err := client.Release(t.Context(), codec()); released || err != nil {
			t.Errorf("got %t and %v, want false", released, err)
		}
	}
	if asked != 2 {
		t.Errorf("the plugin was asked %d times, want 2: it did not know the method the second time", asked)
	}
	if _, err := NewClient(conn).Release(t.Context(), codec()); err == nil {
		t.Error("a client released the codec of another")
	}
}

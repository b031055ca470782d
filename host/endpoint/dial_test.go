package endpoint

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDialErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := Address{"tcp", l.Addr().String()}
	_ = l.Close()
	missing := Address{"unix", filepath.Join(shortDir(t), "s")}
	tests := []struct {
		name string
		addr Address
		want string
		is   error
	}{
		{"no listener", closed, "dial " + closed.String() + ": connect: ", errConnectionRefused},
		{"no such socket", missing, "dial " + missing.String() + ": connect: ", os.ErrNotExist},
		{"other network", Address{"udp", "127.0.0.1:1"}, `dial udp://127.0.0.1:1: got network "udp", want tcp or unix`, nil},
	}
	for _, test := range tests {
		_, err := Dial(t.Context(), test.addr, DialOptions{})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: got %v, want %s...", test.name, err, test.want)
		}
	}
}

func TestDialGivesUp(t *testing.T) {
	l := listening(t, testAddress(t, "tcp"), ListenOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, l.Addr(), DialOptions{}); err == nil {
		t.Error("got a connection, want an error once the context is done")
	}
	_, err := Dial(t.Context(), l.Addr(), DialOptions{Timeout: 1}) // one nanosecond
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
}

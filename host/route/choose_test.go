package route

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/relay"
)

func startsWith(prefix, codec string) config.Rule {
	return config.Rule{StartsWith: codecs.Bytes(prefix), Codec: codec}
}

func from(prefix, codec string) config.Rule {
	return config.Rule{Address: netip.MustParsePrefix(prefix), Codec: codec}
}

func TestDecide(t *testing.T) {
	const undecided = ""
	tests := []struct {
		name  string
		rules []config.Rule
		peer  string
		seen  string
		all   bool
		want  string
	}{
		{"without rules", nil, "10.0.0.1", "", false, "own"},
		{"address", []config.Rule{from("10.0.0.0/8", "a")}, "10.0.0.1", "", false, "a"},
		{"another address", []config.Rule{from("10.0.0.0/8", "a")}, "11.0.0.1", "", false, "own"},
		{"no address, on a Unix socket", []config.Rule{from("0.0.0.0/0", "a")}, "", "", false, "own"},
		{"nothing seen yet", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "", false, undecided},
		{"nothing was sent", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "", true, "own"},
		{"a part", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "a", false, undecided},
		{"a part, and no more", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "a", true, "own"},
		{"all of it", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "ab", false, "a"},
		{"more than it", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "abc", false, "a"},
		{"something else", []config.Rule{startsWith("ab", "a")}, "10.0.0.1", "b", false, "own"},
		{"a later rule waits for an earlier", []config.Rule{startsWith("ab", "a"), startsWith("a", "b")}, "10.0.0.1", "a", false, undecided},
		{"the earlier did not come about", []config.Rule{startsWith("ab", "a"), startsWith("a", "b")}, "10.0.0.1", "a", true, "b"},
		{"the earlier is out of the question", []config.Rule{startsWith("ab", "a"), startsWith("b", "b")}, "10.0.0.1", "b", false, "b"},
		{"an address after undecided bytes", []config.Rule{startsWith("ab", "a"), from("10.0.0.0/8", "b")}, "10.0.0.1", "", false, undecided},
		{"an address before bytes", []config.Rule{from("10.0.0.0/8", "b"), startsWith("ab", "a")}, "10.0.0.1", "", false, "b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newChooser(&config.Endpoint{Codec: "own", Select: test.rules}, 0)
			peer, _ := netip.ParseAddr(test.peer)
			got, decided := c.decide(peer, []byte(test.seen), test.all)
			if got != test.want || decided != (test.want != undecided) {
				t.Errorf("got %q (decided: %v), want %q", got, decided, test.want)
			}
		})
	}
}

// connected returns the two ends of a connection.
func connected(t *testing.T) (*endpoint.Conn, *net.TCPConn) {
	t.Helper()
	l, err := endpoint.Listen(t.Context(), endpoint.Address{Network: "tcp", Address: "127.0.0.1:0"}, endpoint.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, peer.(*net.TCPConn)
}

func TestChoose(t *testing.T) {
	rules := []config.Rule{startsWith("ab", "a")}
	tests := []struct {
		name    string
		timeout time.Duration
		peer    func(t *testing.T, peer *net.TCPConn, end context.CancelCauseFunc)
		want    string
		err     error
		left    string // what stays in the stream
	}{
		{"bytes that match", 0, func(t *testing.T, peer *net.TCPConn, _ context.CancelCauseFunc) { write(t, peer, "abc") }, "a", nil, "abc"},
		{"nothing in time", time.Millisecond, func(*testing.T, *net.TCPConn, context.CancelCauseFunc) {}, "own", nil, ""},
		{"a part in time", 50 * time.Millisecond, func(t *testing.T, peer *net.TCPConn, _ context.CancelCauseFunc) { write(t, peer, "a") },
			"own", nil, "a"},
		{"the end", 0, func(t *testing.T, peer *net.TCPConn, _ context.CancelCauseFunc) {
			write(t, peer, "a")
			if err := peer.CloseWrite(); err != nil {
				t.Error(err)
			}
		}, "own", nil, "a"},
		{"a reset", 0, func(t *testing.T, peer *net.TCPConn, _ context.CancelCauseFunc) {
			if err := errors.Join(peer.SetLinger(0), peer.Close()); err != nil {
				t.Error(err)
			}
		}, "", endpoint.ErrReset, ""},
		{"the route ends", time.Hour, func(_ *testing.T, _ *net.TCPConn, end context.CancelCauseFunc) { end(relay.Drained) },
			"", relay.Drained, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn, peer := connected(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			test.peer(t, peer, cancel)
			c := newChooser(&config.Endpoint{Codec: "own", Select: rules}, test.timeout)
			got, err := c.choose(ctx, conn)
			if got != test.want || !errors.Is(err, test.err) {
				t.Fatalf("got %q and %v, want %q and %v", got, err, test.want, test.err)
			}
			if test.err != nil {
				return
			}
			peer.Close()
			var left []byte
			buf := make([]byte, 64)
			for {
				n, err := conn.Read(func() []byte { return buf }, func([]byte) {})
				left = append(left, buf[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if string(left) != test.left {
				t.Errorf("%q is left in the stream, want %q", left, test.left)
			}
		})
	}
}

func write(t *testing.T, c net.Conn, bytes string) {
	t.Helper()
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
}

package endpoint

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKeepaliveIsSetOnBothEnds(t *testing.T) {
	type options struct{ on, idle, interval, count, userTimeout int }
	tests := []struct {
		name string
		k    Keepalive
		want options // 0: the system's default, which differs between systems
	}{
		{"off", Keepalive{}, options{}},
		{"off with a write timeout", Keepalive{WriteTimeout: time.Minute}, options{}},
		{"a peer may stop reading for ever", Keepalive{Interval: 15 * time.Second}, options{1, 15, 15, 4, 0}},
		{"short write timeout", Keepalive{15 * time.Second, 30 * time.Second}, options{1, 15, 15, 4, 75_000}},
		{"long write timeout", Keepalive{15 * time.Second, 2 * time.Minute}, options{1, 15, 15, 4, 135_000}},
		{"part of a second", Keepalive{1200 * time.Millisecond, time.Second}, options{1, 2, 2, 4, 10_000}},
		{"longer than the system counts", Keepalive{time.Second, 10000 * time.Hour}, options{1, 1, 1, 4, 1<<31 - 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := listening(t, testAddress(t, "tcp"), ListenOptions{Keepalive: test.k})
			dialled, err := Dial(t.Context(), l.Addr(), DialOptions{Keepalive: test.k})
			if err != nil {
				t.Fatal(err)
			}
			defer dialled.Close()
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			for _, c := range []*Conn{dialled, accepted} {
				get := func(level, option int) int { return socketOption(t, c, level, option) }
				got := options{on: get(unix.SOL_SOCKET, unix.SO_KEEPALIVE), userTimeout: get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)}
				if got.on != 0 {
					got.idle = get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
					got.interval = get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
					got.count = get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
				}
				if got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				if get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 1 {
					t.Error("got Nagle's algorithm, want none")
				}
			}
		})
	}
}

func socketOption(t *testing.T, c *Conn, level, option int) (value int) {
	t.Helper()
	raw, err := c.socket.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { value, asked = unix.GetsockoptInt(int(fd), level, option) }); err != nil {
		t.Fatal(err)
	}
	if asked != nil {
		t.Fatal(asked)
	}
	return value
}

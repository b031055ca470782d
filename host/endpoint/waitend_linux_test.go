package endpoint

import (
	"errors"
	"io"
	"net"
	"testing"
)

func TestWaitEnd(t *testing.T) {
	tests := []struct {
		name    string
		network string
		then    func(c *Conn, peer socket) // called when the peer has ended its direction
		want    error
	}{
		{"a reset", "tcp", func(_ *Conn, peer socket) { _ = peer.(*net.TCPConn).SetLinger(0); peer.Close() }, ErrReset},
		{"a peer that is gone, once something is written", "tcp", func(c *Conn, peer socket) {
			peer.Close()
			_, _ = c.Write([]byte("x"))
		}, ErrReset},
		{"a Unix peer that closes", "unix", func(_ *Conn, peer socket) { peer.Close() }, io.EOF},
		{"our own end", "tcp", func(c *Conn, _ socket) { c.Close() }, net.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, tt.network)
			half, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- c.WaitEnd(func() { close(half) }, nil) }()
			if err := peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			<-half
			tt.then(c, peer)
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

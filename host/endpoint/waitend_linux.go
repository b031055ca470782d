package endpoint

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// States of a TCP connection, of include/net/tcp_states.h, in which the peer has ended its direction.
const (
	tcpTimeWait  = 6
	tcpCloseWait = 8
	tcpLastAck   = 9
	tcpClosing   = 11
)

// WaitEnd waits until the connection is over, without reading, and returns how it ended: ErrReset, ErrPeerLost, net.ErrClosed, or
// io.EOF if the peer has closed it, which only Unix sockets show before something is written. halfClosed, unless nil, is
// called once when the peer has ended its direction; it must not block. stop, unless nil, is asked whenever something happens:
// if it returns true, WaitEnd returns net.ErrClosed. It counts as reading.
//
// A TCP peer that is gone answers what is written to it with a reset, and so it answers a keepalive probe, once its system has
// forgotten the connection (on Linux after a minute). Before that, nothing tells it from one that has ended its
// direction and still reads.
func (c *Conn) WaitEnd(halfClosed func(), stop func() bool) error {
	var end error
	err := c.transfer.raw.Read(func(fd uintptr) bool {
		var half bool
		if half, end = c.state(int(fd)); half && halfClosed != nil {
			halfClosed()
			halfClosed = nil
		}
		if end == nil && stop != nil && stop() {
			end = net.ErrClosed
		}
		return end != nil
	})
	if err != nil {
		return stopped(err)
	}
	return end
}

// state returns whether the peer has ended its direction, and how the connection has ended; nil: it goes on.
func (c *Conn) state(fd int) (half bool, end error) {
	if _, ok := c.socket.(*net.TCPConn); !ok {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(poll, 0); err != nil {
			return false, nil //nolint:nilerr // it is asked again
		}
		if poll[0].Revents&unix.POLLHUP != 0 {
			return true, io.EOF
		}
		return poll[0].Revents&unix.POLLRDHUP != 0, nil
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, nil //nolint:nilerr // it is asked again
	}
	switch info.State {
	case tcpClose:
		return true, c.transfer.failure(fd)
	case tcpTimeWait, tcpCloseWait, tcpLastAck, tcpClosing:
		return true, nil
	}
	return false, nil
}

// failure returns why a connection is closed, which the system tells once, to either direction.
func (t *transfer) failure(fd int) error {
	t.in.mu.Lock()
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	end := ErrReset
	if err == nil && errno != 0 && kindOf(unix.Errno(errno)) == ErrPeerLost {
		end = ErrPeerLost
	}
	if err == nil && errno != 0 {
		t.broken.CompareAndSwap(nil, &end)
	}
	t.in.mu.Unlock()
	return t.cause(end, &t.out)
}

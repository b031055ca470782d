package endpoint

import (
	"io"
	"math"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const tcpClose = 7 // TCP_CLOSE of include/net/tcp_states.h

// unacknowledged returns how many bytes were written but not acknowledged.
func unacknowledged(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0, os.NewSyscallError("ioctl SIOCOUTQ", err)
	}
	if n == 0 {
		return 0, nil
	}
	// The count of a connection that was reset never reaches 0.
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt TCP_INFO", err)
	}
	if info.State == tcpClose {
		return 0, ErrReset
	}
	return n, nil
}

// isLost reports whether the system has an error for the connection, and leaves the error pending.
func isLost(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}

func readable(fd uintptr) (int, error) {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}

func setUserTimeout(c *net.TCPConn, t time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	ms := int(min(t.Milliseconds(), math.MaxInt32))
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
	})
}

// States of a TCP connection in which the peer has ended its direction, from include/net/tcp_states.h.
const (
	tcpTimeWait  = 6
	tcpCloseWait = 8
	tcpLastAck   = 9
	tcpClosing   = 11
)

// WaitEnd waits until the connection has ended, without reading bytes, and returns how it ended: ErrReset, ErrPeerLost,
// net.ErrClosed, or io.EOF if the peer has closed it. Only Unix sockets show a peer's close before a byte is written.
// halfClosed, unless nil, is called once, when the peer has ended its direction. stop, unless nil, is called whenever the
// state of the socket may have changed; if stop returns true, WaitEnd returns net.ErrClosed. Neither may block. WaitEnd
// counts as reading.
//
// A TCP peer that has closed answers a write with a reset. It answers a keepalive probe with a reset only once its system
// has forgotten the connection (on Linux after a minute). Until then it looks like a peer that has ended its direction
// and still reads.
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

// state reports whether the peer has ended its direction, and how the connection has ended; a nil end means that it is
// still open.
func (c *Conn) state(fd int) (half bool, end error) {
	if _, ok := c.socket.(*net.TCPConn); !ok {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(poll, 0); err != nil {
			return false, nil //nolint:nilerr // WaitEnd tries again
		}
		if poll[0].Revents&unix.POLLHUP != 0 {
			return true, io.EOF
		}
		return poll[0].Revents&unix.POLLRDHUP != 0, nil
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, nil //nolint:nilerr // WaitEnd tries again
	}
	switch info.State {
	case tcpClose:
		return true, c.transfer.failure(fd)
	case tcpTimeWait, tcpCloseWait, tcpLastAck, tcpClosing:
		return true, nil
	}
	return false, nil
}

// failure returns why the connection is closed. The system reports its error once, to either direction, so failure stores
// it for the other direction.
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

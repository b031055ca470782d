package endpoint

import (
	"math"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

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

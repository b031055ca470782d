package endpoint

import (
	"errors"
	"net"
)

// Readable returns how many bytes of the peer have arrived and were not read; the peer's end and bytes that were put back
// with Unread do not count. It does not wait. The error is net.ErrClosed once the connection was ended here, or what
// else the system says.
func (c *Conn) Readable() (int, error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return 0, bare(err)
	}
	n := 0
	var asked error
	err = raw.Control(func(fd uintptr) { n, asked = readable(fd) })
	if errors.Is(err, net.ErrClosed) {
		return 0, net.ErrClosed
	}
	if err != nil {
		return 0, bare(err)
	}
	return n, asked
}

package endpoint

import (
	"errors"
	"net"
)

// Readable returns how many bytes from the peer have arrived but were not read. The peer's end and bytes put back with
// Unread don't count. Readable does not wait. The error is net.ErrClosed if this side has ended the connection, or another
// error of the system.
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

//go:build !linux

package endpoint

import (
	"net"
	"time"
)

// isLost returns false: this system reports a reset only once all bytes before it were read.
func isLost(uintptr) bool { return false }

// setUserTimeout does nothing: this system has no TCP_USER_TIMEOUT. The system's limit for retransmissions applies.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// WaitEnd waits until this side ends the connection, and returns net.ErrClosed: on this system only a read or a write
// shows that the peer has ended it. WaitEnd calls neither of its arguments.
func (c *Conn) WaitEnd(func(), func() bool) error {
	<-c.over
	return net.ErrClosed
}

package endpoint

// Lost returns ErrReset if the system reports that the connection is broken, even if bytes that arrived before are still
// unread. It returns nil if the system does not report that; the connection may be broken all the same. Lost does not wait.
func (c *Conn) Lost() error {
	lost := false
	if raw, err := c.socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { lost = isLost(fd) }) // fails only if this side closed the connection
	}
	if lost {
		return ErrReset
	}
	return nil
}

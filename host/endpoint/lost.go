package endpoint

// Lost returns ErrReset when the connection is known to be broken, though bytes that came before may not have been read. It
// does not wait. nil: nothing is known of that.
func (c *Conn) Lost() error {
	lost := false
	if raw, err := c.socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { lost = isLost(fd) }) // it fails for a connection that is closed here
	}
	if lost {
		return ErrReset
	}
	return nil
}

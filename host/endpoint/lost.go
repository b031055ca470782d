package endpoint

// Lost returns ErrReset when the connection is known to be broken, though bytes that came before may not have been read. It
// does not wait. nil: nothing is known of that.
func (c *Conn) Lost() error {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return nil
	}
	lost := false
	if err := raw.Control(func(fd uintptr) { lost = isLost(fd) }); err != nil || !lost {
		return nil
	}
	return ErrReset
}

package endpoint

import (
	"context"
	"time"
)

// Peek reads until enough says so of what has been seen, most bytes have been seen, or ctx is done, and returns what has
// been seen. All of it stays in the stream: Read returns it first. The slice is valid until the next Read, Peek or
// Unread, and must not be changed.
//
// Peek asks enough whenever more has arrived, and at the start if bytes were seen or put back before. The error is nil
// if it agreed or most bytes were seen, ctx's cause if ctx is done, and otherwise what Read would return, io.EOF for
// instance.
func (c *Conn) Peek(ctx context.Context, most int, enough func(seen []byte) bool) (seen []byte, err error) {
	if len(c.unread) > 0 && enough(c.unread) {
		return c.unread, nil
	}
	buf := append(make([]byte, 0, max(most, len(c.unread))), c.unread...)
	defer func() {
		if len(buf) > 0 {
			c.unread = buf
		}
	}()
	// A deadline in the past is what wakes a Read without ending the connection.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // fails only once c is closed, which wakes Read as well
		close(woken)
	})
	defer func() {
		if !stop() {
			<-woken
			_ = c.socket.SetReadDeadline(time.Time{})
		}
	}()
	grab := func() []byte { return buf[len(buf):cap(buf)] }
	for len(buf) < most {
		n, err := c.transfer.read(grab, func([]byte) {})
		buf = buf[:len(buf)+n]
		switch {
		case n > 0 && enough(buf):
			return buf, nil
		case ctx.Err() != nil:
			return buf, context.Cause(ctx)
		case err != nil:
			return buf, err
		}
	}
	return buf, nil
}

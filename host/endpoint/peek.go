package endpoint

import (
	"context"
	"time"
)

// Peek reads until enough(seen) returns true, until it has seen most bytes, or until ctx is done. It returns the bytes seen.
// They stay in the stream: Read returns them first. The slice is valid until the next Read, Peek or Unread, and must not
// be changed.
//
// Peek calls enough whenever more bytes have arrived, and at the start if an earlier Peek or Unread left bytes. The error is
// nil if enough returned true or if most bytes were seen. It is ctx's cause if ctx is done, and otherwise the error that
// Read would return, such as io.EOF.
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
	// A deadline in the past wakes a read without ending the connection.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // fails only if c is closed, which wakes the read too
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

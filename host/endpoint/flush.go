package endpoint

import (
	"context"
	"net"
	"time"
)

// Flush waits until the peer's system has acknowledged all bytes that were written, so that a Reset after it discards none
// of them. Flush returns ctx's cause if ctx is done first, ErrReset if the connection is broken, and net.ErrClosed if this
// side ended it. Flush returns nil at once for Unix sockets, which deliver at once, and on systems other than Linux and macOS,
// which don't report how many bytes were acknowledged.
//
// No system signals the acknowledgement, so Flush polls, with pauses that double from one to fifty milliseconds.
func (c *Conn) Flush(ctx context.Context) error {
	tcp, ok := c.socket.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return bare(err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var waiting int
		var asked error
		if err := raw.Control(func(fd uintptr) { waiting, asked = unacknowledged(int(fd)) }); err != nil {
			return bare(err)
		}
		if asked != nil || waiting == 0 {
			return Classify(asked)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

package endpoint

import (
	"context"
	"net"
	"time"
)

// Flush waits until the peer's system has acknowledged everything that was written, so that a Reset behind it does not
// take back what should arrive before it. It returns ctx's cause when ctx is done first, ErrReset if the connection is
// broken, and net.ErrClosed if this side ended it. Unix sockets deliver at once, and so Flush returns at once; also on
// Windows, where the system does not tell.
//
// No system announces this moment: Flush asks, with pauses that double from one to fifty milliseconds.
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

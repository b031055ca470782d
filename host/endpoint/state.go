package endpoint

import (
	"context"
	"errors"
	"net"
	"time"
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

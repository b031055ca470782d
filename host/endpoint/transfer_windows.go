package endpoint

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// A transfer moves bytes with the blocking calls of package net.
type transfer struct {
	socket  socket
	stalled atomic.Bool // a write is in progress; whether it waits for the peer is not known
}

func newTransfer(s socket) (*transfer, error) { return &transfer{socket: s}, nil }

func (t *transfer) read(grab func() []byte, release func([]byte)) (int, error) {
	buf := grab()
	if len(buf) == 0 {
		return 0, nil
	}
	n, err := t.socket.Read(buf)
	if n > 0 {
		return n, nil // the next call returns the error, if any
	}
	release(buf)
	return 0, ended(err)
}

func (t *transfer) write(p []byte) (int, error) {
	t.stalled.Store(true)
	n, err := t.socket.Write(p)
	t.stalled.Store(false)
	if n > 0 {
		return n, nil // the next call returns the error, if any
	}
	return 0, ended(err)
}

func ended(err error) error {
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	}
	return Classify(bare(err))
}

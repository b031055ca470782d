package endpoint

import (
	"errors"
	"io"
	"net"
)

// A transfer moves bytes with the blocking calls of package net.
type transfer struct{ socket socket }

func newTransfer(s socket) (*transfer, error) { return &transfer{s}, nil }

func (t *transfer) read(grab func() []byte, release func([]byte)) (int, error) {
	buf := grab()
	if len(buf) == 0 {
		return 0, nil
	}
	n, err := t.socket.Read(buf)
	if n > 0 {
		return n, nil // an error comes again
	}
	release(buf)
	return 0, ended(err)
}

func (t *transfer) write(p []byte) (int, error) {
	n, err := t.socket.Write(p)
	if n > 0 {
		return n, nil // an error comes again
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

package endpoint

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Ways in which a connection ends, besides io.EOF (the peer ended its direction) and net.ErrClosed (this side ended the
// connection).
var (
	// ErrReset means that the peer, or a device on the path to it, aborted the connection.
	ErrReset = errors.New("connection reset")
	// ErrPeerLost means that the peer no longer answers: its machine, or the path to it, is gone.
	ErrPeerLost = errors.New("peer lost")
)

// Classify wraps a system error in ErrReset or ErrPeerLost if it means one of them, and returns any other error unchanged.
// Errors from a Conn are classified already; classifying an error again changes nothing.
func Classify(err error) error {
	var errno syscall.Errno
	if errors.Is(err, ErrReset) || errors.Is(err, ErrPeerLost) || !errors.As(err, &errno) {
		return err
	}
	if kind := kindOf(errno); kind != nil {
		return fmt.Errorf("%w (%w)", kind, err)
	}
	return err
}

// bare returns the error inside a net.OpError, without its addresses: the caller adds the address as the configuration
// writes it.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

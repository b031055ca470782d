package endpoint

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// How a connection ends other than by the peer's end of a direction (io.EOF) or by this side (net.ErrClosed).
var (
	// ErrReset: the peer, or something between, aborted the connection.
	ErrReset = errors.New("connection reset")
	// ErrPeerLost: the peer does not answer any more: its machine, or the way to it, is gone.
	ErrPeerLost = errors.New("peer lost")
)

// Classify returns err, wrapped so that it is ErrReset or ErrPeerLost if it is the system's error for one of them.
// What a Conn returns is classified already; to do it again changes nothing.
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

// bare returns what is inside of a net.OpError: who reports it names the addresses in the form of a configuration.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

package swapterm

import (
	"errors"

	"github.com/framehost/framehost/codecs"
)

// The state of a direction, version 1. Empty: at the start of a frame, with the terminator of the options in force. Else
// one of these bytes, followed by a terminator of 1 to 64 bytes.
const (
	stateBetween    = 1 // scope stream: at the start of a frame, with this terminator in force
	stateDiscarding = 2 // inside a frame that was given up, and that this terminator ends
)

var errState = errors.New("swapterm: state that no decoder or encoder of this version hands back")

// state is the information that a direction keeps from earlier frames.
type state struct {
	discarding bool
	terminator []byte // in force, or the terminator that ends the discarded frame
}

// readState returns the state that bytes represent. The state's terminator lies in the memory of bytes.
func (f *framing) readState(bytes []byte) (state, error) {
	switch {
	case len(bytes) == 0:
		return state{terminator: f.terminator}, nil
	case len(bytes) < 2 || len(bytes) > 1+longest || bytes[0] != stateBetween && bytes[0] != stateDiscarding:
		return state{}, errState
	}
	return state{discarding: bytes[0] == stateDiscarding, terminator: bytes[1:]}, nil
}

// between returns the state in which terminator is in force at the start of a frame, built in buf.
func (f *framing) between(buf *[1 + longest]byte, terminator []byte) []byte {
	if !f.stream {
		return nil
	}
	buf[0] = stateBetween
	return buf[:1+copy(buf[1:], terminator)]
}

// discard sets the state in which everything up to terminator is discarded.
func discard(out *codecs.Payloads, terminator []byte) {
	var buf [1 + longest]byte
	buf[0] = stateDiscarding
	out.SetState(buf[:1+copy(buf[1:], terminator)])
}

// Package relay moves payloads between links and re-encodes them from one codec to another. A [Session] relays between two
// links; a [Hub] relays from each of its members to all others.
//
// A [Session] pairs one downstream link with one upstream link. It has two directions, and each direction repeats four steps:
//
//	wire --read--> received bytes --decode--> payloads --encode--> wire --write-->
//
// A codec's result depends only on the arguments of the call. The session keeps everything that lasts from call to call: the
// bytes that no frame has consumed yet, how many of them the decoder has searched, the state of each codec, and the position
// at which a write stopped. The session knows neither sockets nor processes: a [Link] wraps a socket, and a [codeccall.Codec]
// may wrap a process.
//
// # Promises
//
// A session delivers all payloads of a stream, each complete, once and in order, except those that OnViolation skips, which it
// counts. If the session can't deliver a payload for another reason, it resets the receiver's connection. So a clean end means that
// nothing is missing except what was skipped and counted.
//
// When a peer ends its direction, the session decodes, encodes and writes everything that the peer sent. Then it ends that
// direction, and no other, at the other peer. The opposite direction goes on as long as bytes keep arriving (see
// Timeouts.HalfClose).
//
// After a violation that is not skipped, a reset or an end inside a frame, the session first writes the payloads decoded before
// it, and then resets the receiver instead of ending its stream. This closes the whole session: bytes that the opposite direction
// had read and not written are lost. The receiver of the opposite direction is reset too, unless its stream had already ended. So
// no receiver mistakes a part of a stream for the whole.
//
// When a receiver stops reading, the session stops reading from the sender: while a write blocks, the session reads at most one
// more batch. A session that waits for bytes has one goroutine for each direction, and holds no buffers except for an
// unfinished frame.
//
// # Drain
//
// [Session.Drain] asks a session to end at a moment that harms neither peer. The session relays as before until both peers have
// ended or until it rests. A session rests when both directions are between two frames, neither link has unread bytes, and no
// byte has arrived for one second. Then both peers see a clean end. Bytes that a peer sends after that are not delivered: the
// session counts them and resets the peer that sent them.
//
// [Session.Cut] ends a session that does not rest: the session writes whole frames that were read, for at most one second, and
// then resets both peers, with the reason [DrainTimeout].
//
// # Memory
//
// Buffers are charged to a [Memory] that sessions share; its comment states the rules. Each direction has an account in the
// Memory. From start to end, a direction is charged 9 KiB for its small buffers. A larger buffer is charged while it holds bytes.
// Room for the result of a codec call is charged during the call, and the result is charged until it is written.
//
// A direction never waits for its first 64 KiB. While memory is short, a direction reads 16 KiB at a time, so 64 KiB are enough
// for small frames. A long frame is moved repeatedly to a buffer of twice the size, and may have to wait for each such buffer.
// While other accounts wait, a direction that holds much memory and makes no progress may end its session, with the reason
// [MemoryShort].
//
// Copies in transit to a codec's process are not charged. With gRPC, they are up to 8 MiB for each of the two streams to a process,
// or one larger call. With shared memory, they last as long as the call, and are the bytes passed in the call that are not in memory
// which both processes share already ([codeccall.Lender]).
//
// # Cost
//
// A direction reads up to 64 KiB, decodes, encodes and writes in one goroutine. When reads fill their buffers, reads grow to
// 256 KiB, or to 2 MiB in lent memory, and a second goroutine encodes and writes one batch while the first reads and decodes
// the next. A direction reads the clock a few times for each batch. One timer serves all timeouts of a session.
package relay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A Link is a stream connection to a peer. One goroutine at a time calls Read, and one at a time calls Write. Any goroutine may
// call the other methods at any time, except WaitEnd.
type Link interface {
	// Read waits until the peer has sent bytes or ended its direction. Only then does it call grab for memory. It reads into
	// that memory and returns the number of bytes read: at least one, unless there is an error. Read gives memory that it did
	// not read into to release before it calls grab again, waits again, or returns. Neither grab nor release blocks. The error
	// is io.EOF when the peer has ended its direction.
	Read(grab func() []byte, release func([]byte)) (n int, err error)
	// Readable returns how many bytes Read could return without waiting; the end of a stream counts as 0. Readable does not
	// wait, and may be called while Read waits.
	Readable() (int, error)
	// Write blocks until the transport has accepted at least one byte of p, and returns how many bytes it accepted.
	Write(p []byte) (n int, err error)
	// Flush waits until the peer's kernel has acknowledged all written bytes, or ctx ends. If the transport has no
	// acknowledgements, Flush returns at once.
	Flush(ctx context.Context) error
	// Stalled reports whether a Write is waiting for the peer to accept bytes written before.
	Stalled() bool
	// WaitEnd waits until the connection is over, and returns how it ended: io.EOF if the peer has closed it. WaitEnd reads no
	// bytes. When the peer ends its direction, WaitEnd calls halfClosed once, unless halfClosed is nil. One goroutine at a time
	// calls WaitEnd.
	WaitEnd(halfClosed func()) error
	// CloseWrite ends our direction: the peer sees a clean end after all bytes written.
	CloseWrite() error
	// CloseRead signals to the peer, if the transport can, that we read no more.
	CloseRead() error
	// Reset closes the link so that the peer sees a reset instead of a clean end, and wakes blocked calls.
	Reset() error
	// Close closes the link and wakes blocked calls. It may be called more than once, and after Reset.
	Close() error
}

// Use says which directions of a link carry payloads. If the Use of either side excludes a direction of a session, the session
// discards the bytes that arrive in it. The session does not pass the end of such a direction on to the receiver, but that end
// counts for Timeouts.HalfClose. With Side.Shutdown, the session does not read at all from a side that is SendOnly; a reset by
// that peer shows when the session writes to it.
type Use string

// The values of Use. The zero value means Both.
const (
	Both        Use = "both"
	ReceiveOnly Use = "receive" // the session never writes to that side
	SendOnly    Use = "send"    // the session reads what that side sends, discards it and counts it
)

// A Side is one end of a session.
type Side struct {
	Link     Link
	Codec    codeccall.Codec // nil: bytes pass through unframed; both sides must then have nil
	Use      Use             // "": Both
	Shutdown bool            // when the session starts, end the direction of the link that Use excludes
}

// Timeouts end a session, or a stream in a hub, when the state described lasts that long. 0 means never.
type Timeouts struct {
	Idle      time.Duration // no byte moves in either direction
	Frame     time.Duration // a frame is unfinished, counted from its first byte; only time spent reading counts
	Write     time.Duration // a write is pending, and no byte of it is accepted
	HalfClose time.Duration // one direction has ended, and no byte moves in the other
}

// OnViolation says what a session or a hub does when a peer breaks its framing, or when the receiver's framing can't represent a
// payload.
type OnViolation string

// The values of OnViolation. The zero value means CloseSession.
const (
	CloseSession OnViolation = "close"
	Skip         OnViolation = "skip"       // drop the frame, count it and go on; close if the codec can't go on after it
	Quarantine   OnViolation = "quarantine" // as Skip, and keep the dropped bytes
)

// Config describes a session.
type Config struct {
	Downstream, Upstream Side
	Timeouts             Timeouts
	OnViolation          OnViolation // "": CloseSession

	// Memory is charged for the session's buffers; it is the Memory of the session's route. nil: nothing is charged.
	Memory *Memory
	// Peer is the address, without a port, to which the memory of both directions is attributed; "": not known.
	Peer string
	// Classify returns the reason for an error of a link: Reset, PeerLost or IOError. nil: IOError.
	Classify func(error) Reason
	// Violation is called for each violation, including those that are skipped. The goroutine that found the violation calls
	// it, and waits until it returns. A violation that is not skipped is also the Err of the Result. nil: violations are not
	// reported.
	Violation func(Violation)
	// Quarantine is called if OnViolation is [Quarantine]. It returns a writer for the bytes that are dropped because of a
	// violation: all bytes from the first of the faulty frame up to the byte where decoding goes on, or a payload that can't be
	// represented. The session writes the bytes as they arrive, and closes the writer after the last. If the dropped bytes of
	// several violations follow one another without a gap, all go to the writer of the first. If the writer has a method
	// Flush() error, the session calls it before each wait for more bytes. The session ignores the writer's errors. If
	// Quarantine is nil or returns nil, the bytes are not kept.
	Quarantine func(Violation) io.WriteCloser
	// WireBytes is the largest number of bytes of a frame, or of a payload, that a Violation shows.
	WireBytes int
}

var errOneCodec = errors.New("relay: a codec on one side only; want one on both sides, or on neither")

// validate returns an error if a session can't run with c.
func (c *Config) validate() error {
	if (c.Downstream.Codec == nil) != (c.Upstream.Codec == nil) {
		return errOneCodec
	}
	return nil
}

// FrameMemory returns the largest number of bytes that one frame can need on its way from codec from to codec to, including the
// fixed charge of its session. A frame needs memory for its wire, its payload and its new wire, or for twice its wire while it is
// moved to a larger buffer. With a smaller [Memory], a session can't carry the longest frames. FrameMemory returns 0 if either
// codec is nil.
//
// A hub makes one more copy, for the queues: see [HubFrameMemory].
func FrameMemory(from, to codeccall.Codec) int64 {
	if from == nil || to == nil {
		return 0
	}
	source := from.Properties()
	wire := int64(source.MaxWire) + 1
	return sessionMemory + max(2*wire, wire+int64(source.MaxFrame)+int64(to.Properties().MaxWire))
}

// HubFrameMemory is like [FrameMemory], for a hub.
func HubFrameMemory(from, to codeccall.Codec) int64 {
	if from == nil || to == nil {
		return 0
	}
	return FrameMemory(from, to) + int64(roundUp(to.Properties().MaxWire+endSize)) + sharedFramesOverhead
}

// Package relay moves payloads between links, from one codec to another: in a [Session] between two, in a [Hub] from
// each member to all others.
//
// A [Session] is one live pairing of a downstream and an upstream link. It has two directions, and each is a line of
// four steps:
//
//	wire --read--> received bytes --decode--> payloads --encode--> wire --write-->
//
// The codecs are functions of what they are shown. The session owns everything in between: the bytes that no frame has
// consumed yet, how far they were searched, the state of either codec, and where a write stopped. It knows neither
// sockets nor processes; a [Link] is the one and a [codeccall.Codec] may be the other.
//
// # Promises
//
// Payloads arrive complete, once and in order, or the receiver learns that they did not: a clean end means a complete
// stream. When a peer ends its direction, what it sent is decoded, encoded and written, and then that direction alone
// is ended at the other peer; the opposite direction goes on as long as bytes keep coming. After a violation, a reset or
// an end inside a frame, what was decoded before it is written first, and then the receiver is reset rather than ended.
// That closes the whole session: what the opposite direction had read but not written is lost with it, and since its
// receiver is reset as well, unless its stream had already ended, no receiver takes a part for the whole.
//
// A receiver that stops reading stops the sender: while a write blocks, at most one more batch is read. A session that
// waits holds no buffers, but for a frame that is unfinished, and one goroutine for each direction.
//
// # Drain
//
// [Session.Drain] asks a session to end when that harms neither peer. The session relays as before until it ends by itself or
// rests: both directions are between two frames, neither link has unread bytes, and nothing has come for a second. Then both
// peers see a clean end. Bytes that a peer sends after that are not delivered: the sender is reset, and they are counted.
// [Session.Cut] ends a session that does not rest: whole frames that were read are written, for at most a second, and then both
// peers are reset, with the reason [DrainTimeout].
//
// # Memory
//
// Buffers are charged to a [Memory] that sessions share; its comment has the rules. Each direction has an account there. A buffer
// is charged as long as it holds bytes, the room for a call's result as long as the call lasts, and the result until it is
// written. For its first 64 KiB a direction never waits; while memory is short, it reads 16 KiB at a time, so that 64 KiB are
// enough for small frames. A long frame moves to buffers of twice the size again and again, and may have to wait for each. While
// others wait, a direction that holds a lot and makes no progress may end its session, with the reason [MemoryShort].
//
// Copies on their way to a codec's process are not charged: by gRPC up to 8 MiB a lane, or one larger call; by shared memory, for
// as long as the call lasts, the bytes shown or handed over that are not in lent memory.
//
// # Cost
//
// A direction reads up to 64 KiB, decodes, encodes and writes in one goroutine. When reads come back full, reads grow to
// 256 KiB, or to 2 MiB into lent memory, and another goroutine encodes and writes one batch while the next is read and
// decoded. A clock is read a few times for each batch, and one timer serves all timeouts of a session.
package relay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// A Link is a stream connection to a peer. Read is called from one goroutine at a time, and so is Write; everything
// else from any.
type Link interface {
	// Read waits until the peer has sent something or ended. Only then it calls grab for memory, reads into that, and
	// returns how many bytes it read: at least one, unless there is an error. Memory that was not read into goes back
	// with release before grab is called again, or Read returns or waits again. Neither call blocks.
	// The error is io.EOF when the peer ended its direction.
	Read(grab func() []byte, release func([]byte)) (n int, err error)
	// Readable returns how many bytes Read could return at once; the end of a stream counts 0. It does not wait, and may be
	// called while Read waits.
	Readable() (int, error)
	// Write blocks until the peer's side accepted at least one byte of p, and returns how many it did.
	Write(p []byte) (n int, err error)
	// Flush waits until the peer's kernel has acknowledged all written bytes, or ctx ends. If the transport has no
	// acknowledgements, it returns at once.
	Flush(ctx context.Context) error
	// Stalled reports whether a Write is under way that waits for the peer to take bytes written before.
	Stalled() bool
	// WaitEnd waits until the connection is over, and returns how it ended: io.EOF if the peer has closed it. It reads no
	// bytes. It calls halfClosed, unless nil, once when the peer has ended its direction. Like Read, it is called from one
	// goroutine at a time.
	WaitEnd(halfClosed func()) error
	// CloseWrite ends our direction; the peer sees a clean end after everything written.
	CloseWrite() error
	// CloseRead signals to the peer, if the transport can, that nothing more is read.
	CloseRead() error
	// Reset closes the link, so that the peer sees a reset and not an end, and wakes blocked calls.
	Reset() error
	// Close closes the link and wakes blocked calls. It may be called again, and after Reset.
	Close() error
}

// Use says which directions of a link are used. A direction of a session that the use of either side leaves out only
// discards what is sent; its end is not passed on, but counts as one for Timeouts.HalfClose. With Shutdown, a side that
// is only sent to is not even read from, so that its reset shows when something is written.
type Use string

// Both is the zero value's meaning too.
const (
	Both        Use = "both"
	ReceiveOnly Use = "receive" // the session never writes to that side
	SendOnly    Use = "send"    // what that side sends is read, discarded and counted
)

// A Side is one end of a session.
type Side struct {
	Link     Link
	Codec    codeccall.Codec // nil: bytes pass through unframed; then both sides must
	Use      Use             // "": Both
	Shutdown bool            // the direction that Use leaves out is ended in the link when the session starts
}

// Timeouts end a session. 0 means never.
type Timeouts struct {
	Idle      time.Duration // no byte either way
	Frame     time.Duration // from an unfinished frame's first byte to its last; stands still while the session does not read
	Write     time.Duration // a write is pending and no byte is accepted
	HalfClose time.Duration // one direction ended, and no byte moves in the other
}

// OnViolation says what follows when a peer breaks its framing, or a payload can't be represented.
type OnViolation string

// CloseSession is the zero value's meaning too.
const (
	CloseSession OnViolation = "close"
	Skip         OnViolation = "skip"       // drop the frame, count it and go on; close if the codec can't go on
	Quarantine   OnViolation = "quarantine" // as Skip, and the bytes are kept
)

// Config describes a session.
type Config struct {
	Downstream, Upstream Side
	Timeouts             Timeouts
	OnViolation          OnViolation // "": CloseSession

	// Memory is charged for buffers; it is the Memory of the session's route. nil: nothing is charged.
	Memory *Memory
	// Peer is the address, without a port, to which the memory of both directions is attributed; "": not known.
	Peer string
	// Classify returns the reason for an error of a link: Reset, PeerLost or IOError. nil: IOError.
	Classify func(error) Reason
	// Violation is called for each violation, also those that are skipped, from the goroutine that found it, which waits
	// for it. One that is not skipped is also the Err of the Result. nil: violations are not reported.
	Violation func(Violation)
	// Quarantine, with the policy of that name, returns a writer for the bytes that are dropped for a violation: every byte
	// from the faulty frame's first one to where decoding goes on, or a payload that can't be represented. They are written as
	// they arrive, and the writer is closed after the last. Bytes of several violations that follow one another without a gap
	// go to the writer of the first. If the writer has a method Flush() error, that is called before each wait for more bytes.
	// The session ignores the writer's errors. nil, or a nil result: the bytes are not kept.
	Quarantine func(Violation) io.WriteCloser
	// WireBytes is how many bytes of a frame, or of a payload, a Violation shows at most.
	WireBytes int
}

var errOneCodec = errors.New("relay: a codec on one side only; want one on both sides, or on neither")

// validate refuses what cannot run.
func (c *Config) validate() error {
	if (c.Downstream.Codec == nil) != (c.Upstream.Codec == nil) {
		return errOneCodec
	}
	return nil
}

// FrameMemory returns how many bytes one frame can take on its way from one codec to the other: its wire, its payload and its new
// wire; or twice its wire, while it is moved to a larger buffer. With a smaller [Memory] the longest frames can't be carried.
//
// In a hub another copy is made for the queues ([HubFrameMemory]).
func FrameMemory(from, to codeccall.Codec) int64 {
	if from == nil || to == nil {
		return 0
	}
	source := from.Properties()
	wire := int64(source.MaxWire) + 1
	return sessionMemory + max(2*wire, wire+int64(source.MaxFrame)+int64(to.Properties().MaxWire))
}

// HubFrameMemory is FrameMemory for a hub.
func HubFrameMemory(from, to codeccall.Codec) int64 {
	if from == nil || to == nil {
		return 0
	}
	return FrameMemory(from, to) + int64(roundUp(to.Properties().MaxWire+endSize)) + sharedFramesOverhead
}

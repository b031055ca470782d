// Package codeccall is the contract of package codecs as a host speaks it: one call shows what has arrived, and one
// result says what became of it. A call may cross a process boundary and be made again elsewhere; plugin authors never
// see it.
//
//	decode(options, state, wire, examined, eof, max_frame, room, skips)
//	                                                -> payloads, skipped faults, consumed, examined', need, more, state', fault?
//	encode(options, state, payloads, eof, room)                  -> wire, ends, taken, more, state', fault?
//
// The options and max_frame are fixed when a [Codec] is configured. Everything else is in the call, so a result
// depends on nothing but the call, and takes effect whole or not at all. [Decode.Check] and [Encode.Check] hold a
// result against its call; hosts trust nothing that has not passed them.
package codeccall

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/framehost/framehost/codecs"
)

// ErrCodecFailed is wrapped by the errors of calls that no process could answer: the codec itself is at fault, not
// the bytes. Nothing of such a call took effect.
var ErrCodecFailed = errors.New("codec failed")

// ErrMisbehaved is wrapped by the error of a result that breaks the contract.
var ErrMisbehaved = errors.New("result breaks the codec contract")

// Why a call in another process ended without an answer. It took no effect.
var (
	// ErrGone: the process, or the connection to it, is gone. The call may be made again on another process, after this
	// one was killed and reaped.
	ErrGone = errors.New("plugin process is gone")
	// ErrOverdue: there was no answer within the timeout. The process hangs, and has to be killed.
	ErrOverdue = errors.New("plugin did not answer in time")
	// ErrNotBegun: the process had not begun the call, so that it has neither died nor hung of it. It is wrapped beside ErrGone
	// or ErrOverdue by planes that know; without it, the process may have begun the call or not.
	ErrNotBegun = errors.New("the call had not begun")
)

// A Codec is a codec with its options in force, wherever it runs. It is safe for concurrent use.
type Codec interface {
	Properties() Properties
	// Open returns a Direction for the calls of one flow of one session.
	Open() Direction
}

// Properties are what configuring a codec said about it.
type Properties struct {
	Info      codecs.Info
	Options   json.RawMessage // in force, defaults filled in
	MaxFrame  int             // the longest payload, in bytes
	MaxWire   int             // the longest wire of one frame, in bytes
	UsesState bool            // frames may depend on those before them
}

// A Direction makes the calls of one flow. At most one Decode and one Encode may be under way at a time.
type Direction interface {
	// Decode makes a call and fills out, whose slices it uses again. in and what it points to is only read, and not
	// kept. When it returns an error, nothing took effect; the error wraps ErrCodecFailed, or is ctx's.
	Decode(ctx context.Context, in *Decode, out *Decoded) error
	// Encode is to encoding what Decode is to decoding.
	Encode(ctx context.Context, in *Encode, out *Encoded) error
	// Close releases what is kept for the direction. No call may be under way.
	Close()
}

// A Lender is a Codec that can show bytes without copying them, if they lie in memory that it lent.
type Lender interface {
	// Lend returns memory of at least size bytes to receive into, for Decode.Lent, or nil if there is none to be had.
	Lend(size int) Loan
}

// A Loan is memory that belongs to a Lender, or to the plane by which calls travel. It stays readable until its End,
// whatever becomes of the process that shares it.
type Loan interface {
	// Bytes returns the memory, all of it.
	Bytes() []byte
	// End gives the memory back. It is called once.
	End()
}

// Decode is a call that shows wire bytes.
type Decode struct {
	Wire     []byte // received and not consumed yet
	Examined int    // how many of Wire an earlier call searched already
	EOF      bool   // no more bytes will follow
	State    []byte // from the last result of the direction
	Room     int    // bytes of payloads that may be built; those that stand in the wire are referred to and need none
	// Skips is how many faults may be skipped in this call, at most MaxSkips: decoding then goes on where each says. A
	// codec may skip fewer. 0: the first fault ends the call.
	Skips int

	// Need is the Need of the direction's last result, if nothing was skipped since. A host shows fewer bytes at the end
	// of the stream alone; Check then refuses every result but a truncated frame. It is not sent. 0 claims nothing.
	Need int
	// RoomNeeded is that of the direction's last result, if this call shows the same. Check refuses a result that needs more
	// still. It is not sent. 0 claims nothing.
	RoomNeeded int
	// Patient says that the call will hardly find anything, as a few more bytes of a frame that arrives byte by byte. Where
	// many such calls are to be made, few are made at a time, and others do not wait for them.
	Patient bool

	// Left says that Wire begins with that many bytes which the direction's last Decode left unconsumed, and that
	// nothing was taken away in between. A plane need not send those again. 0 claims nothing.
	Left int
	// Lent is what Wire lies in, if that was lent; nil otherwise.
	Lent Loan
	// Borrow says that the caller is ready for Decoded.Lent.
	Borrow bool
}

// Decoded is the result of a Decode. All positions count from the first byte shown.
type Decoded struct {
	Refs       []codecs.Ref // the payloads, in Wire and, behind it, Data; in order and without overlap
	Data       []byte       // payloads that were built
	Consumed   int          // bytes taken from the front of Wire
	Examined   int          // searched so far: Consumed..len(Wire)
	Need       int          // another call finds nothing in fewer bytes after Consumed; 0: not known. Check clears it beside more
	More       bool         // stopped for want of room: call again at once
	RoomNeeded int          // with More and no progress: the room without which there can't be any
	Skipped    int          // empty frames dropped
	Dropped    int          // bytes at the front that belong to the frame of an earlier fault: 0..Consumed
	State      []byte       // for the next call
	// Skipped faults, in order. Consumed counts what was skipped as well.
	SkippedFaults []SkippedFault
	Fault         *codecs.Fault // what ended the call
	Lent          Loan          // what Data lies in, where the call asked to borrow; see Return. nil: Data is the caller's
}

// Bounds of what a call may skip: so many faults, which want so many different things. Where the faults of garbage want more,
// another call is made.
const (
	MaxSkips = 1024
	MaxWants = 16
)

// A SkippedFault is a fault after which decoding went on within its call. Its Resume is within what was consumed. A fault
// that is codecs.ErrTruncated is never skipped so, nor one that says not to go on, nor one that says to go on beyond what
// was shown.
type SkippedFault struct { //nolint:errname // a fault by the word for it everywhere
	codecs.Fault
	Payloads int // how many of the result's precede it
	Dropped  int // bytes from Resume on that are the rest of the faulty frame, as Decoded.Dropped are of an earlier one
}

// Return ends what out borrowed, with which Data is gone. Whoever makes calls that borrow calls it when done with a
// result, also before out is used for another call.
func (out *Decoded) Return() {
	if out.Lent != nil {
		out.Lent.End()
		out.Lent, out.Data = nil, nil
	}
}

// Encode is a call that hands over payloads.
type Encode struct {
	Wire, Data []byte       // what Refs count through: Wire and, behind it, Data
	Refs       []codecs.Ref // the payloads, in order; at most codecs.MaxPayloads
	EOF        bool         // nothing follows these
	State      []byte       // from the last result of the direction
	Room       int          // bytes that may be written
	RoomNeeded int          // of the direction's last result, if this call hands over the same; see Decode.RoomNeeded
	Lent       Loan         // what Wire lies in, if that was lent by a Lender; nil otherwise
	Borrow     bool         // the caller is ready for Encoded.Lent
}

// At returns payload i. It is valid as long as Wire and Data are.
func (in *Encode) At(i int) []byte {
	batch := codecs.Batch{Wire: in.Wire, Data: in.Data, Refs: in.Refs}
	return batch.At(i)
}

// PayloadBytes returns the sum of the payloads' lengths.
func (in *Encode) PayloadBytes() int {
	n := 0
	for _, r := range in.Refs {
		n += int(r.Len)
	}
	return n
}

// Encoded is the result of an Encode.
type Encoded struct {
	Wire       []byte   // what was written
	Ends       []uint32 // for each payload taken, where its frame ends in Wire; one of no bytes was skipped
	More       bool     // stopped for want of room: call again at once, with the payloads not taken
	RoomNeeded int      // with More and no progress: the room without which there can't be any
	State      []byte   // for the next call
	Fault      *codecs.Fault
	Lent       Loan // what Wire lies in, where the call asked to borrow; see Return. nil: Wire is the caller's
}

// Return is to an encoding's result what Decoded.Return is to a decoding's.
func (out *Encoded) Return() {
	if out.Lent != nil {
		out.Lent.End()
		out.Lent, out.Wire = nil, nil
	}
}

// Taken returns how many payloads were taken.
func (out *Encoded) Taken() int { return len(out.Ends) }

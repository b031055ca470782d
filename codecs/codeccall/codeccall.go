// Package codeccall is the contract of package codecs as a host uses it: each call shows what has arrived, and its
// result says what the codec found. A call may cross a process boundary and may be repeated in another process. Plugin
// authors never see this package.
//
//	decode(options, state, wire, examined, eof, max_frame, room, skips)
//	                                                -> payloads, skipped faults, consumed, examined', need, more, state', fault?
//	encode(options, state, payloads, eof, room)                  -> wire, ends, taken, more, state', fault?
//
// The options and max_frame are fixed when a [Codec] is configured; everything else is passed in the call. So a result
// depends only on the configured codec and the call, and takes effect either completely or not at all. A prime marks
// the new value of an argument, and a question mark a result that may be absent; ends are the positions in wire at
// which frames end, and taken is their number. [Decode.Check] and [Encode.Check] check a result against its call; hosts
// trust no result before it has passed them.
package codeccall

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/framehost/framehost/codecs"
)

// ErrCodecFailed is wrapped by the errors of calls that no process could answer: the codec itself is at fault, not
// the bytes. Such a call had no effect.
var ErrCodecFailed = errors.New("codec failed")

// ErrMisbehaved is wrapped by the error of a result that breaks the contract.
var ErrMisbehaved = errors.New("result breaks the codec contract")

// Errors of a call in another process that ended without an answer. The call had no effect.
var (
	// ErrGone: the process, or the connection to it, is gone. The call may be repeated in another process, after this
	// process was killed and reaped.
	ErrGone = errors.New("plugin process is gone")
	// ErrOverdue: there was no answer within the timeout. The process hangs and must be killed.
	ErrOverdue = errors.New("plugin did not answer in time")
	// ErrNotBegun: the process had not begun the call, so the call did not make it die or hang. Planes that know this wrap
	// it together with ErrGone or ErrOverdue. An error without it does not say whether the process had begun the call.
	ErrNotBegun = errors.New("the call had not begun")
)

// A Codec is a configured codec, in this process or another. It is safe for concurrent use.
type Codec interface {
	Properties() Properties
	// Open returns a Direction for the calls of one flow of one session.
	Open() Direction
}

// Properties describe a configured codec.
type Properties struct {
	Info      codecs.Info
	Options   json.RawMessage // in force, defaults filled in
	MaxFrame  int             // the longest payload, in bytes
	MaxWire   int             // the longest wire of one frame, in bytes
	UsesState bool            // frames may depend on earlier frames
}

// A Direction makes the calls of one flow. At most one Decode and one Encode may be under way at a time.
type Direction interface {
	// Decode makes a call and fills out, whose slices it reuses. It only reads in and the memory that in points to, and
	// keeps neither. If it returns an error, the call had no effect; the error wraps ErrCodecFailed, or is ctx's.
	Decode(ctx context.Context, in *Decode, out *Decoded) error
	// Encode makes a call and fills out, like Decode.
	Encode(ctx context.Context, in *Encode, out *Encoded) error
	// Close releases the direction's resources. No call may be under way.
	Close()
}

// A Lender is a Codec that can show bytes without copying them, if they lie in memory that it lent.
type Lender interface {
	// Lend returns memory of at least size bytes to receive into, for Decode.Lent, or nil if it has none.
	Lend(size int) Loan
}

// A Loan is memory that belongs to a Lender, or to the plane over which calls travel. It stays readable until End, even
// if the process that shares it dies.
type Loan interface {
	// Bytes returns all of the memory.
	Bytes() []byte
	// End gives the memory back. It must be called exactly once.
	End()
}

// Decode is a call that shows wire bytes.
type Decode struct {
	Wire     []byte // received and not consumed yet
	Examined int    // how many bytes of Wire an earlier call has already searched
	EOF      bool   // no more bytes will follow
	State    []byte // from the last result of the direction
	Room     int    // bytes of payloads that may be built; payloads that stand in the wire are referred to and need none
	// Skips is how many faults may be skipped in this call, at most MaxSkips: decoding then goes on at each fault's Resume.
	// A codec may skip fewer. 0: the first fault ends the call.
	Skips int

	// Need is the Need of the direction's last result, if no bytes were skipped since; 0 claims nothing. A host shows fewer
	// bytes only at the end of the stream; Check then refuses every result but a truncated frame. Need is not sent.
	Need int
	// RoomNeeded is the RoomNeeded of the direction's last result, if this call shows the same bytes; 0 claims nothing. Check
	// refuses a result that needs still more. RoomNeeded is not sent.
	RoomNeeded int
	// Patient means that the call will probably find nothing, because it adds a few bytes to a frame that arrives byte by
	// byte. A codec may limit how many patient calls are made at a time, so that other calls do not wait for them.
	Patient bool

	// Left is the number of bytes at the front of Wire that the direction's last Decode left unconsumed, if none were taken
	// away in between; 0 claims nothing. A plane need not send those bytes again.
	Left int
	// Lent is the memory in which Wire lies, if a Lender lent it; else nil.
	Lent Loan
	// Borrow means that the caller accepts a result in borrowed memory, Decoded.Lent.
	Borrow bool
}

// Decoded is the result of a Decode. All positions count from the first byte shown.
type Decoded struct {
	Refs       []codecs.Ref // the payloads, in order and without overlap; positions in Wire followed by Data
	Data       []byte       // payloads that were built
	Consumed   int          // bytes consumed from the front of Wire
	Examined   int          // bytes searched so far: Consumed..len(Wire)
	Need       int          // another call finds nothing in fewer bytes after Consumed; 0: not known. Check clears it with More
	More       bool         // stopped because room ran out: call again at once
	RoomNeeded int          // with More and no progress: the least room that allows progress
	Skipped    int          // empty frames dropped
	Dropped    int          // bytes at the front that belong to the frame of an earlier fault: 0..Consumed
	State      []byte       // for the next call
	// Skipped faults, in order. Consumed includes the bytes of their frames.
	SkippedFaults []SkippedFault
	Fault         *codecs.Fault // the fault that ended the call
	Lent          Loan          // the memory in which Data lies, if the call asked to borrow; see Return. nil: Data is the caller's
}

// Limits on the faults that one call may skip: their number, and the number of different texts in Want. If the stream has
// more, another call is made.
const (
	MaxSkips = 1024
	MaxWants = 16
)

// A SkippedFault is a fault after which decoding went on in the same call. Its Resume is at most Decoded.Consumed. A fault
// is never skipped if it is codecs.ErrTruncated, if its Resume is Never, or if its Resume is beyond the bytes shown.
type SkippedFault struct { //nolint:errname // the project's word is fault
	codecs.Fault
	Payloads int // how many of the result's payloads precede the fault
	Dropped  int // bytes from Resume on that are the rest of the faulty frame, like Decoded.Dropped for an earlier fault
}

// Return ends out's loan; Data is then gone. The maker of calls that borrow must call Return when it is done with a
// result, and before it uses out for another call.
func (out *Decoded) Return() {
	if out.Lent != nil {
		out.Lent.End()
		out.Lent, out.Data = nil, nil
	}
}

// Encode is a call that hands over payloads.
type Encode struct {
	Wire, Data []byte       // Refs are positions in Wire followed by Data
	Refs       []codecs.Ref // the payloads, in order; at most codecs.MaxPayloads
	EOF        bool         // no payloads follow these
	State      []byte       // from the last result of the direction
	Room       int          // bytes that may be written
	RoomNeeded int          // of the direction's last result, if this call has the same payloads; see Decode.RoomNeeded
	Lent       Loan         // the memory in which Wire lies, if a Lender lent it; else nil
	Borrow     bool         // the caller accepts a result in borrowed memory, Encoded.Lent
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
	Wire       []byte   // the bytes written
	Ends       []uint32 // for each payload taken, where its frame ends in Wire; an empty frame: the payload was skipped
	More       bool     // stopped because room ran out: call again at once, with the payloads not taken
	RoomNeeded int      // with More and no progress: the least room that allows progress
	State      []byte   // for the next call
	Fault      *codecs.Fault
	Lent       Loan // the memory in which Wire lies, if the call asked to borrow; see Return. nil: Wire is the caller's
}

// Return ends out's loan; Wire is then gone. See Decoded.Return.
func (out *Encoded) Return() {
	if out.Lent != nil {
		out.Lent.End()
		out.Lent, out.Wire = nil, nil
	}
}

// Taken returns how many payloads were taken.
func (out *Encoded) Taken() int { return len(out.Ends) }

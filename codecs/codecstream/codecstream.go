// Package codecstream drives codecs over streams: it makes the calls of [codeccall] that decode or encode one stream, in
// the only order that the contract allows.
//
// A [Decoder] decides what to show next and when:
//
//   - It shows bytes that no frame has consumed again, with the state of the last result and the number of bytes already
//     searched (Examined).
//   - It makes no call for fewer bytes than the codec needs (Need), except at the end of the stream.
//   - If a call stopped because room ran out, it calls again at once, with the room that the codec asked for (RoomNeeded).
//   - It drops bytes that belong to a faulty frame as they arrive.
//
// A Decoder holds no bytes and allocates no memory for them: a [Source] holds the bytes, and a [Sink] decides where
// results go and whether decoding goes on after a fault.
//
// An [Encoder] passes payloads to the codec until all are taken, asks the [FrameSink] for more room when the codec needs it,
// leaves out refused payloads if the FrameSink allows that, and lets the codec write the end of a stream.
//
// The maker of a [codeccall.Direction] has already checked the results of its calls. This package trusts them.
package codecstream

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
)

// Probe makes one call outside a stream, to learn what the codec would answer. It repeats the call with more room while
// the codec asks for more. in.Room is the room to begin with. No stream changes.
func Probe(ctx context.Context, d codeccall.Direction, in *codeccall.Decode, out *codeccall.Decoded) error {
	for {
		if err := d.Decode(ctx, in, out); err != nil {
			return err
		}
		if out.RoomNeeded <= in.Room {
			return nil
		}
		in.Room, in.RoomNeeded = out.RoomNeeded, out.RoomNeeded
	}
}

// Package codecstream drives codecs over streams: it makes the calls of [codeccall] that decode one stream or encode one,
// in the only order that the contract allows.
//
// A [Decoder] knows what to show next and when: bytes that no frame has consumed are shown again behind the state of the last
// result, with what was searched already (Examined); no call is made for fewer bytes than the codec needs (Need); a call
// that stopped for want of room is made again at once, with the room it asked for (RoomNeeded); and bytes that a fault takes
// with it are dropped as they arrive. It holds no bytes itself and takes no memory: a [Source] has the bytes, and a [Sink]
// says where results go and what becomes of faults.
//
// An [Encoder] is its counterpart: it hands over payloads until all are taken, gives more room where that is asked for, goes on
// after payloads that were refused, and lets the codec write the end of a stream.
//
// Results of a [codeccall.Direction] are checked already, by whatever made it. This package trusts them.
package codecstream

import (
	"context"

	"github.com/framehost/framehost/codecs/codeccall"
)

// Probe makes one call beside a stream, to learn what the codec would answer: again with more room where it asks for that,
// until it makes progress. Room is what to begin with. Nothing of a stream changes.
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
